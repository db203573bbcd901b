import type { Answers, Op, Requests } from "./messages.ts";

/** The part of a session that rooms, matches, the inbox and storage use. */
export interface Caller {
  /** @internal The most updates of a topic that may wait to be read. */
  readonly buffer: number;

  /** Send a request; returns its answer. */
  request<O extends Op>(op: O, fields: Requests[O]): Promise<Answers[O]>;

  /** Send a request about a topic that the session is in; returns its answer. */
  requestIn<O extends Op>(topic: string, op: O, fields: Requests[O]): Promise<Answers[O]>;

  /** @internal Send the request that leaves a topic; once it is answered, stop following it. */
  leave<O extends Op>(topic: string, op: O, fields: Requests[O]): Promise<void>;
}

/** Options of a request that can act just once, however often it is sent. */
export interface Keyed {
  /**
   * The idempotency key. By default the client makes one, so that it can send the request again
   * after a break, and the request acts once. null: no key; the request is sent once at most.
   */
  key?: string | null | undefined;
}

/** Options of a page of history. */
export interface Page {
  /** The page ends before this offset; 0, which is the default: it ends with the newest. */
  before?: number;
  /** The most entries of the page. */
  limit?: number;
}
