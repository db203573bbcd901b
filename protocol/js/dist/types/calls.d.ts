import type { Payload } from "./codec.js";
import type { ErrorReply, Ok, Request } from "./envelope.js";
import { RequestFailed } from "./errors.js";
/** What the answer of a request does, besides settling the promise. */
export interface Outcome<T> {
    /**
     * Takes the data of the answer, and returns the result of the request. It runs before the next
     * push is read, so that it can set up what takes that push.
     */
    ok(data: unknown): T;
    /**
     * Called instead of `ok` once no `ok` can come. A join or a leave has it, because its `ok` counts
     * even if nobody waits for it any more.
     */
    lost?: (() => void) | undefined;
}
/** One request under way. */
export declare class Call {
    #private;
    readonly ref: number;
    readonly op: string;
    readonly payload: Payload;
    readonly outcome: Outcome<unknown>;
    /** It settles with the answer or with the error that the request failed with. */
    readonly done: Promise<unknown>;
    /** Whether it may be sent again. */
    repeatable: boolean;
    /** Whether it was given to a connection at least once. */
    sent: boolean;
    constructor(ref: number, request: Request, payload: Payload, outcome: Outcome<unknown>);
    succeed(data: unknown): void;
    fail(error: Error): void;
    /** End the wait with an error. The request itself may still be answered. */
    abandon(error: Error): void;
}
/**
 * The requests of one session, over all its connections: the order in which they are sent, and
 * what a break does to them. There is no I/O here.
 */
export declare class Calls {
    #private;
    /** @param inFlight how many requests may be without an answer; further ones wait. */
    constructor(inFlight: number);
    /** Queue a request. Throws what `encode` throws. */
    add(request: Request, encode: (request: Request) => Payload, outcome: Outcome<unknown>): Call;
    /** The oldest queued request, if it may be sent now; the caller sends it. */
    nextToSend(): Call | undefined;
    /** Give a reply to its request, if somebody still waits for it. */
    settle(reply: Ok | ErrorReply): void;
    /**
     * Note that nobody waits for a request any more. If it is still queued, it is never sent. If it
     * was sent and has a `lost`, its `ok` still counts until the connection breaks.
     */
    forget(call: Call): void;
    /**
     * Note that the connection is gone. Requests that may be repeated are queued again, in front of
     * those that were never sent; the others fail.
     */
    broke(): void;
    /** Fail all requests, because the session is over. `error` makes an error for each of them. */
    end(error: () => Error): void;
}
/** The error that a request failed with. */
export declare function refusal(op: string, reply: ErrorReply): RequestFailed;
/** The idempotency key of a request: undefined asks for a new one, null for none. */
export declare function keyOrNew(key: string | null | undefined): string | null;
