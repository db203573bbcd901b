import type { Payload } from "./codec.ts";
import type { ErrorReply, Ok, Request } from "./envelope.ts";
import { ConnectionLost, RequestFailed } from "./errors.ts";
import { BY_KEY, HARMLESS } from "./tables.ts";

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

  /** Tell who waits that the wait is over, whatever becomes of the request. */
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
  /** Sent ones that nobody waits for, and whose `ok` counts all the same. */
  #late = new Map<number, Call>();

  /** @param inFlight so many requests may be without an answer; others wait. */
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

  /** The oldest request that was not given to this connection yet and may be now. */
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
   * Note that nobody waits for a request any more. It is not sent if it was not sent yet. If it
   * was sent and has a `lost`, its `ok` is still taken, until the connection breaks.
   */
  forget(call: Call): void {
    call.repeatable = false;
    if (this.#queued.delete(call.ref)) call.outcome.lost?.();
    else if (this.#sent.delete(call.ref) && call.outcome.lost) this.#late.set(call.ref, call);
  }

  /**
   * Note that the connection is gone, and queue the requests that may be repeated, before those
   * that were never sent.
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
