import type { Payload } from "./codec.ts";
import type { ErrorReply, Ok, Request } from "./envelope.ts";
import { ConnectionLost, RequestFailed } from "./errors.ts";
import { BY_KEY, HARMLESS } from "./tables.ts";

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
export class Call {
  readonly ref: number;
  readonly op: string;
  readonly payload: Payload;
  readonly outcome: Outcome<unknown>;
  /** It settles with the answer or with the error that the request failed with. */
  readonly done: Promise<unknown>;
  /** Whether it may be sent again. */
  repeatable: boolean;
  /** Whether it was given to a connection at least once. */
  sent = false;
  #resolve!: (value: unknown) => void;
  #reject!: (error: Error) => void;

  constructor(ref: number, request: Request, payload: Payload, outcome: Outcome<unknown>) {
    this.ref = ref;
    this.op = request.op;
    this.payload = payload;
    this.outcome = outcome;
    this.repeatable =
      HARMLESS.has(request.op) || (BY_KEY.has(request.op) && typeof request["key"] === "string");
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.done.catch(() => {}); // nobody may wait for it any more
  }

  succeed(data: unknown): void {
    try {
      this.#resolve(this.outcome.ok(data));
    } catch (error) {
      this.#reject(error as Error);
    }
  }

  fail(error: Error): void {
    this.#reject(error);
    this.outcome.lost?.();
  }

  /** End the wait with an error. The request itself may still be answered. */
  abandon(error: Error): void {
    this.#reject(error);
  }
}

/**
 * The requests of one session, over all its connections: the order in which they are sent, and
 * what a break does to them. There is no I/O here.
 */
export class Calls {
  readonly #inFlight: number;
  #nextRef = 1;
  #queued = new Map<number, Call>();
  #sent = new Map<number, Call>();
  /** Requests that were sent and that nobody waits for, but whose `ok` still counts. */
  #late = new Map<number, Call>();

  /** @param inFlight how many requests may be without an answer; further ones wait. */
  constructor(inFlight: number) {
    this.#inFlight = inFlight;
  }

  /** Queue a request. Throws what `encode` throws. */
  add(request: Request, encode: (request: Request) => Payload, outcome: Outcome<unknown>): Call {
    const ref = this.#nextRef;
    const call = new Call(ref, request, encode({ ...request, ref }), outcome);
    this.#nextRef += 1;
    this.#queued.set(ref, call);
    return call;
  }

  /** The oldest queued request, if it may be sent now; the caller sends it. */
  nextToSend(): Call | undefined {
    if (this.#sent.size >= this.#inFlight) return undefined;
    for (const call of this.#queued.values()) {
      this.#queued.delete(call.ref);
      this.#sent.set(call.ref, call);
      call.sent = true;
      return call;
    }
    return undefined;
  }

  /** Give a reply to its request, if somebody still waits for it. */
  settle(reply: Ok | ErrorReply): void {
    if (reply.op === "ok") {
      this.#taken(reply.ref)?.succeed(reply.data ?? null);
      return;
    }
    for (const ref of [reply.ref, ...(reply.refs ?? [])]) {
      const call = ref === null ? undefined : this.#taken(ref);
      call?.fail(refusal(call.op, reply));
    }
  }

  /**
   * Note that nobody waits for a request any more. If it is still queued, it is never sent. If it
   * was sent and has a `lost`, its `ok` still counts until the connection breaks.
   */
  forget(call: Call): void {
    call.repeatable = false;
    if (this.#queued.delete(call.ref)) call.outcome.lost?.();
    else if (this.#sent.delete(call.ref) && call.outcome.lost) this.#late.set(call.ref, call);
  }

  /**
   * Note that the connection is gone. Requests that may be repeated are queued again, in front of
   * those that were never sent; the others fail.
   */
  broke(): void {
    const sent = [...this.#sent.values(), ...this.#late.values()];
    const queued = this.#queued;
    this.#sent = new Map();
    this.#late = new Map();
    // Refs grow with time, so the order of refs is the order of the requests.
    const again = sent.filter((call) => call.repeatable).sort((a, b) => a.ref - b.ref);
    this.#queued = new Map([...again.map((call) => [call.ref, call] as const), ...queued]);
    for (const call of sent) if (!call.repeatable) call.fail(new ConnectionLost(call.op));
  }

  /** Fail all requests, because the session is over. `error` makes an error for each of them. */
  end(error: () => Error): void {
    const all = [...this.#sent.values(), ...this.#late.values(), ...this.#queued.values()];
    this.#sent.clear();
    this.#late.clear();
    this.#queued.clear();
    for (const call of all) call.fail(error());
  }

  #taken(ref: number): Call | undefined {
    const call = this.#sent.get(ref) ?? this.#late.get(ref);
    this.#sent.delete(ref);
    this.#late.delete(ref);
    return call;
  }
}

/** The error that a request failed with. */
export function refusal(op: string, reply: ErrorReply): RequestFailed {
  const { code, message, retry = false, retry_in_s: inS } = reply;
  return new RequestFailed(op, code, message, retry, inS === undefined ? undefined : inS * 1000);
}

/** The idempotency key of a request: undefined asks for a new one, null for none. */
export function keyOrNew(key: string | null | undefined): string | null {
  if (key !== undefined) return key;
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
