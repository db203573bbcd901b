import type { Keyed } from "./caller.js";
import type { Account, Profile, Requests, SignInEntry } from "./messages.js";
/**
 * The account of a session's user, and what others tell of themselves. A guest has no account, and
 * is told `no_account`.
 */
export declare class Accounts {
    #private;
    /** The account of the session's user. */
    own(): Promise<Account>;
    /** What these users tell of themselves. Those without an account are left out. */
    read(users: string[]): Promise<Profile[]>;
    /** Change the account of the session's user; returns it as it is then. What is left out stays. */
    update({ key, ...fields }: Requests["account.update"] & Keyed): Promise<Account>;
    /** Where the user is signed in, the last used first. */
    sessions(): Promise<SignInEntry[]>;
    /** End a sign-in. Its sessions are closed as `sign_in_ended`. */
    endSession(sign_in: string): Promise<void>;
    /** End all sign-ins, or all `others`; returns how many. */
    endSessions({ others }?: {
        others?: boolean;
    }): Promise<number>;
    /** Close the account. The session ends. */
    close(): Promise<void>;
    /** The accounts whose usernames begin so; `page` is how many each request asks for. */
    search(prefix: string, { page }?: {
        page?: number;
    }): AsyncGenerator<Profile, void>;
}
