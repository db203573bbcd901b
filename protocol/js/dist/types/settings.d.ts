import type { Backoff } from "./backoff.js";
import type { ClientError } from "./errors.js";
/** The time limits and bounds of the client. Times are in milliseconds. */
export interface Settings {
    /** How long the WebSocket may take to open, and then how long the session may. */
    readonly connectTimeoutMs: number;
    /** How long a request may take, the wait for a connection included. */
    readonly requestTimeoutMs: number;
    /** How long the client waits for the server to end the session. */
    readonly closeTimeoutMs: number;
    readonly backoff: Backoff;
    /** After a connection that lasted so long, the back-off starts from its first step. */
    readonly stableAfterMs: number;
    /** The session ends after so long without a connection. */
    readonly giveUpAfterMs: number;
    /** The most requests without an answer; further ones wait. The server refuses more than 64. */
    readonly inFlight: number;
    /** The most updates of one topic that wait to be read. A `Gap` replaces the oldest of more. */
    readonly buffer: number;
}
export declare const DEFAULTS: Settings;
/**
 * There is a connection again. `resumed` says whether it has the same session. If not, it has a new
 * session of the same user, in the same rooms and matches.
 */
export interface Connected {
    readonly status: "connected";
    readonly resumed: boolean;
}
/** There is no connection; attempt number `attempt`, from 1, is in `waitMs` milliseconds. */
export interface Reconnecting {
    readonly status: "reconnecting";
    readonly attempt: number;
    readonly waitMs: number;
    /** The error of the last connection or of the last attempt. */
    readonly error: ClientError;
}
export type Status = Connected | Reconnecting;
