import type { ErrorCode } from "./messages.js";
/** The base class of every error that the client raises by itself. */
export declare class ClientError extends Error {
    readonly name: string;
}
/**
 * A connection failed: nobody listens there, or the handshake was refused. A browser does not tell
 * which. Open the same address with `http://` to read the reason.
 */
export declare class CannotConnect extends ClientError {
    readonly name = "CannotConnect";
    readonly url: string;
    /** Another attempt would fail as well. */
    readonly permanent: boolean;
    constructor(url: string, why: string, permanent?: boolean);
}
/** The server answered with an error. */
export declare class RequestFailed extends ClientError {
    readonly name = "RequestFailed";
    readonly op: string;
    /** The code in the table of errors. */
    readonly code: ErrorCode;
    /** The same request may succeed later. */
    readonly retry: boolean;
    /** In how many milliseconds, if the server said so. */
    readonly retryInMs: number | undefined;
    constructor(op: string, code: ErrorCode, why: string, retry: boolean, retryInMs?: number);
}
/** There was no answer within the deadline. `sent`: it was sent, and may still act. */
export declare class RequestTimedOut extends ClientError {
    readonly name = "RequestTimedOut";
    readonly op: string;
    readonly timeoutMs: number;
    readonly sent: boolean;
    constructor(op: string, timeoutMs: number, sent: boolean);
}
/**
 * The connection broke before the answer to a request that must not be sent twice. The request
 * may have acted.
 */
export declare class ConnectionLost extends ClientError {
    readonly name = "ConnectionLost";
    readonly op: string;
    constructor(op: string);
}
/**
 * The session is over, and the client makes no further attempt to connect. `close` says how, if
 * the server closed the connection. `code` is its name, such as "sign_in_ended", or the code of the
 * error with which the server refused to resume, such as "banned"; empty: neither is the reason.
 */
export declare class Disconnected extends ClientError {
    readonly name = "Disconnected";
    readonly close: CloseCode | undefined;
    readonly code: string;
    constructor(why: string, close?: CloseCode, code?: string);
    /** The same error for somebody else who waits. */
    again(): Disconnected;
}
/** The session is no longer in a room, match or inbox. `code`: a code of the table of errors. */
export declare class TopicGone extends ClientError {
    readonly name = "TopicGone";
    readonly topic: string;
    readonly code: ErrorCode;
    constructor(topic: string, code: ErrorCode);
}
/** How a connection was closed. `name` is of the table of closes; "unnamed": by its range. */
export interface CloseCode {
    readonly code: number;
    readonly name: string;
    /** Whether a client should connect again. */
    readonly reconnect: boolean;
}
export declare function closeCode(code: number): CloseCode;
