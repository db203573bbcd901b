import type { Caller, Keyed } from "./caller.ts";
import { keyOrNew } from "./calls.ts";
import type { Answers, Blocked, Friend, FriendTie, Requests } from "./messages.ts";
import { patiently } from "./patience.ts";

type Change =
  | "friend.request" | "friend.accept" | "friend.decline" | "friend.remove"
  | "block.add" | "block.remove";

/**
 * The friends, requests and blocks of a session's user. What others do is told by entries of the
 * type `friend.tie` in the inbox.
 */
export class Friends {
  readonly #caller: Caller;

  /** @internal */
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** Ask a user to be a friend; if that user has asked already, they are friends at once. */
  request(user: string, options: Keyed = {}): Promise<FriendTie> {
    return this.#do("friend.request", user, options);
  }

  /** Accept the request of a user. */
  accept(user: string, options: Keyed = {}): Promise<FriendTie> {
    return this.#do("friend.accept", user, options);
  }

  /** Decline the request of a user, if there is one. */
  decline(user: string, options: Keyed = {}): Promise<null> {
    return this.#do("friend.decline", user, options);
  }

  /** End a friendship, or take a request back, if there is one. */
  remove(user: string, options: Keyed = {}): Promise<null> {
    return this.#do("friend.remove", user, options);
  }

  /** Block a user: nothing of that one is shown any more; friendship and requests end. */
  block(user: string, options: Keyed = {}): Promise<null> {
    return this.#do("block.add", user, options);
  }

  /** Block a user no longer. */
  unblock(user: string, options: Keyed = {}): Promise<null> {
    return this.#do("block.remove", user, options);
  }

  /** Friends and requests by the id of the other, or those of one state, `page` at a time. */
  async *list(
    { state, page = 50 }: { state?: Friend["state"]; page?: number } = {},
  ): AsyncGenerator<Friend, void> {
    let cursor: string | null = null;
    do {
      const request: Requests["friend.list"] = { state: state ?? null, limit: page, cursor };
      const answer: Answers["friend.list"] = await patiently(this.#caller, "friend.list", request);
      yield* answer.friends;
      cursor = answer.cursor ?? null;
    } while (cursor !== null);
  }

  /** The users that the user has blocked, by id. */
  async *blocked({ page = 50 }: { page?: number } = {}): AsyncGenerator<Blocked, void> {
    let cursor: string | null = null;
    do {
      const request: Requests["block.list"] = { limit: page, cursor };
      const answer: Answers["block.list"] = await patiently(this.#caller, "block.list", request);
      yield* answer.blocked;
      cursor = answer.cursor ?? null;
    } while (cursor !== null);
  }

  #do<O extends Change>(op: O, user: string, { key }: Keyed) {
    return this.#caller.request(op, { user, key: keyOrNew(key) } as Requests[O]);
  }
}
