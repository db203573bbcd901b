import type { Caller, Keyed } from "./caller.ts";
import { keyOrNew } from "./calls.ts";
import type { Account, Answers, Profile, Requests } from "./messages.ts";
import { patiently } from "./patience.ts";

/**
 * The account of a session's user, and what others tell of themselves. A guest has no account, and
 * is told `no_account`.
 */
export class Accounts {
  readonly #caller: Caller;

  /** @internal */
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** Change the account of the session's user; returns it as it is then. What is left out stays. */
  update({ key, ...fields }: Requests["account.update"] & Keyed): Promise<Account> {
    return this.#caller.request("account.update", { ...fields, key: keyOrNew(key) });
  }

  /** The accounts whose usernames begin so; `page` is how many each request asks for. */
  async *search(prefix: string, page = 20): AsyncGenerator<Profile, void> {
    let cursor: string | null = null;
    do {
      const request: Requests["account.search"] = { prefix, limit: page, cursor };
      const answer: Answers["account.search"] = await patiently(
        this.#caller, "account.search", request,
      );
      yield* answer.profiles;
      cursor = answer.cursor ?? null;
    } while (cursor !== null);
  }
}
