import type { AccessToken } from "./access.js";
import type { WebSocketClass } from "./link.js";
import { Session } from "./session.js";
import type { Settings } from "./settings.js";
export interface ConnectOptions {
    /** Open a new session, with this name to show to others; 1 to 64 characters. */
    name?: string;
    /**
     * An access token of an account; without one the user is a guest. A function is called for a
     * fresh token at each connection, and before the last token runs out.
     */
    token?: AccessToken;
    /** In place of a name, take over the session of this token (`session.opened.token`). */
    resume?: string;
    /** msgpack, which is the default, is smaller; json is readable. */
    encoding?: "msgpack" | "json";
    /** Time limits, back-off and bounds. Those of `DEFAULTS` hold where nothing is given. */
    settings?: Partial<Settings>;
    /** The WebSocket to use where there is no global one (Node.js before 22). */
    WebSocket?: WebSocketClass;
    /** For the random part of the back-off: numbers from 0 to 1. */
    random?: () => number;
}
/**
 * Open a session and keep a connection to it, until `session.close()`.
 *
 * The first connection is tried once, so that a wrong address fails at once. After a break the
 * client tries until it succeeds, until `settings.giveUpAfterMs` have passed, or until the server
 * forbids another attempt.
 *
 * @param url `ws://host:port/path`, or `wss://` for TLS.
 * @throws CannotConnect the first connection failed.
 * @throws RequestFailed the server refused the name or the token.
 * @throws Disconnected the server closed before the session was open.
 */
export declare function connect(url: string, options: ConnectOptions): Promise<Session>;
