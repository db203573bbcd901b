import type { Access } from "./access.js";
import type { Outcome } from "./calls.js";
import type { Request } from "./envelope.js";
import { Disconnected } from "./errors.js";
import { Feed } from "./feed.js";
import type { Endpoint } from "./link.js";
import type { Position, Push, SessionOpened } from "./messages.js";
import type { Settings, Status } from "./settings.js";
/** Takes the pushes of a channel. No method waits. */
export interface Follower {
    /** The position on each topic, for a resume. */
    positions(): Record<string, Position>;
    /**
     * Take a push. `open` is aborted when the connection ends; it is undefined before the session is
     * open.
     */
    pushed(push: Push, open: AbortSignal | undefined): void;
    /** Note that no more pushes come. undefined: the user has left the session. */
    ended(why: Disconnected | undefined): void;
}
export interface CallOptions {
    /** The deadline; by default the settings'. */
    timeoutMs?: number | undefined;
    /** When it is aborted, nobody waits for the answer any more. */
    signal?: AbortSignal | undefined;
}
/**
 * The requests and pushes of a session, over one connection after the other.
 *
 * The channel opens a connection, opens or resumes the session on it, and serves it. When it
 * breaks, the channel tries to open another one, as the table of closes and the back-off say. It
 * does not interpret pushes; its `Follower` does.
 */
export declare class Channel {
    #private;
    connected: boolean;
    readonly statuses: Feed<Status>;
    /** The server's answer to the open or resume on the newest connection. */
    opened: SessionOpened | undefined;
    /**
     * @param greeting the request that opens the session on its first connection.
     * @param access brings access tokens; undefined: the user is a guest.
     */
    constructor(endpoint: Endpoint, greeting: Request, access: Access | undefined, settings: Settings, random: () => number, follower: Follower);
    /**
     * Open the first connection, and keep one open from then on.
     *
     * @throws CannotConnect, RequestFailed, Disconnected: the first connection failed.
     */
    start(): Promise<void>;
    /** Send a request; returns the result of `outcome.ok` for the answer. */
    call<T>(request: Request, outcome: Outcome<T>, options?: CallOptions): Promise<T>;
    /** End the session: here, and on the server too if there is a connection. */
    leave(): Promise<void>;
}
/** Wait; an aborted signal ends the wait. */
export declare function sleep(ms: number, signal?: AbortSignal): Promise<void>;
