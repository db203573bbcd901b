import type { SessionOpened } from "./messages.js";
/** An access token of the server's accounts, or what brings a fresh one. */
export type AccessToken = string | (() => string | Promise<string>);
/** When the session's access token runs out, by the server's clock; a guest has none. */
export type Expiring = Pick<SessionOpened, "token" | "expires">;
/** Renews the access token of a session on its open connection. */
export declare class Access {
    #private;
    constructor(token: AccessToken, url: string);
    /** Whether there is a way to get a fresh token. */
    get renewable(): boolean;
    /** A token for now. @throws CannotConnect there is none, and another attempt may bring one. */
    token(): Promise<string>;
    /** Call `renew` in time, if there is something to renew and a way to get a fresh token. */
    watch({ expires }: Expiring, renew: () => void): void;
    stop(): void;
}
