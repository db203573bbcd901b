import type { Keyed } from "./caller.js";
import type { Account, Profile, Requests } from "./messages.js";
/**
 * The account of a session's user, and what others tell of themselves. A guest has no account, and
 * is told `no_account`.
 */
export declare class Accounts {
    #private;
    /** Change the account of the session's user; returns it as it is then. What is left out stays. */
    update({ key, ...fields }: Requests["account.update"] & Keyed): Promise<Account>;
    /** The accounts whose usernames begin so; `page` is how many each request asks for. */
    search(prefix: string, page?: number): AsyncGenerator<Profile, void>;
}
