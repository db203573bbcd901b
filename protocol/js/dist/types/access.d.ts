import type { SessionOpened } from "./messages.js";
/** An access token of an account, or a function that returns a fresh one. */
export type AccessToken = string | (() => string | Promise<string>);
/** The part of an answer that says when the access token runs out; a guest has none. */
export type Expiring = Pick<SessionOpened, "token" | "expires">;
/** Renews the access token of a session on its open connection. */
export declare class Access {
    #private;
    constructor(token: AccessToken, url: string);
    /** Whether there is a way to get a fresh token. */
    get renewable(): boolean;
    /** Return a token. @throws CannotConnect there is none now; another attempt may bring one. */
    token(): Promise<string>;
    /** Call `renew` before the token runs out, if it does and there is a way to get another. */
    watch({ expires }: Expiring, renew: () => void): void;
    stop(): void;
}
