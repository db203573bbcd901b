import type { Answers, Op, Requests } from "./messages.ts";

/** The part of a session that rooms, matches, the inbox and storage use. */
export interface Caller {
  /** @internal How many updates of a topic wait to be read at most. */
  readonly buffer: number;

  /** Send a request; returns its answer. */
  request<O extends Op>(op: O, fields: Requests[O]): Promise<Answers[O]>;

  /** Send a request about a topic that the session is in; returns its answer. */
  requestIn<O extends Op>(topic: string, op: O, fields: Requests[O]): Promise<Answers[O]>;

  /** @internal Send the request that leaves a topic; once it is answered, stop following it. */
  leave<O extends Op>(topic: string, op: O, fields: Requests[O]): Promise<void>;
}

/** Options of a request that may be made to act once, however often it is sent. */
export interface Keyed {
  /**
   * The idempotency key. By default one is made, so that the request is sent again after a break
   * and acts once. null: no key, and it is never sent twice.
   */
  key?: string | null | undefined;
}

/** Options of a page of history. */
export interface Page {
  /** What is older than this offset; 0, which is the default: the newest. */
  before?: number;
  /** How many at most. */
  limit?: number;
}
