import type { Payload } from "./codec.js";
import type { ErrorReply, Ok, Request } from "./envelope.js";
import { RequestFailed } from "./errors.js";
/** What becomes of a request, besides its promise. */
export interface Outcome<T> {
    /**
     * Takes the data of the answer and returns the request's result. It runs at once, so that it
     * has set everything up before the next push is read.
     */
    ok(data: unknown): T;
    /**
     * Called in place of `ok` once no `ok` can come. It is for a join or a leave, whose `ok` counts
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
    /** Tell who waits that the wait is over, whatever becomes of the request. */
    abandon(error: Error): void;
}
/**
 * The requests of one session, over all its connections: the order in which they are sent, and
 * what a break does to them. There is no I/O here.
 */
export declare class Calls {
    #private;
    /** @param inFlight so many requests may be without an answer; others wait. */
    constructor(inFlight: number);
    /** Queue a request. Throws what `encode` throws. */
    add(request: Request, encode: (request: Request) => Payload, outcome: Outcome<unknown>): Call;
    /** The oldest request that was not given to this connection yet and may be now. */
    nextToSend(): Call | undefined;
    /** Give a reply to its request, if somebody still waits for it. */
    settle(reply: Ok | ErrorReply): void;
    /**
     * Note that nobody waits for a request any more. It is not sent if it was not sent yet. If it
     * was sent and has a `lost`, its `ok` is still taken, until the connection breaks.
     */
    forget(call: Call): void;
    /**
     * Note that the connection is gone, and queue the requests that may be repeated, before those
     * that were never sent.
     */
    broke(): void;
    /** Fail all requests, because the session is over. `error` makes an error for each of them. */
    end(error: () => Error): void;
}
/** The error that a request failed with. */
export declare function refusal(op: string, reply: ErrorReply): RequestFailed;
/** The idempotency key of a request: undefined asks for a new one, null for none. */
export declare function keyOrNew(key: string | null | undefined): string | null;
