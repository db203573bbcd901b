import type { ErrorCode } from "./messages.ts";
import { CLOSES } from "./tables.ts";

/** The base class of every error that the client raises by itself. */
export class ClientError extends Error {
  // Not `new.target.name`, which a minifier shortens.
  override readonly name: string = "ClientError";
}

/**
 * A connection failed: nobody listens there, or the handshake was refused. A browser does not tell
 * which. Open the same address with `http://` to read the reason.
 */
export class CannotConnect extends ClientError {
  override readonly name = "CannotConnect";
  readonly url: string;
  /** Another attempt would fail as well. */
  readonly permanent: boolean;

  constructor(url: string, why: string, permanent = false) {
    super(`cannot connect to ${url}: ${why}`);
    this.url = url;
    this.permanent = permanent;
  }
}

/** The server answered with an error. */
export class RequestFailed extends ClientError {
  override readonly name = "RequestFailed";
  readonly op: string;
  /** The code in the table of errors. */
  readonly code: ErrorCode;
  /** The same request may succeed later. */
  readonly retry: boolean;
  /** In how many milliseconds, if the server said so. */
  readonly retryInMs: number | undefined;

  constructor(op: string, code: ErrorCode, why: string, retry: boolean, retryInMs?: number) {
    super(`${op}: ${code}: ${why}`);
    this.op = op;
    this.code = code;
    this.retry = retry;
    this.retryInMs = retryInMs;
  }
}

/** There was no answer within the deadline. `sent`: it was sent, and may still act. */
export class RequestTimedOut extends ClientError {
  override readonly name = "RequestTimedOut";
  readonly op: string;
  readonly timeoutMs: number;
  readonly sent: boolean;

  constructor(op: string, timeoutMs: number, sent: boolean) {
    const fate = sent ? "it may act yet" : "it was never sent";
    super(`${op}: no answer within ${timeoutMs} ms; ${fate}`);
    this.op = op;
    this.timeoutMs = timeoutMs;
    this.sent = sent;
  }
}

/**
 * The connection broke before the answer to a request that must not be sent twice. The request
 * may have acted.
 */
export class ConnectionLost extends ClientError {
  override readonly name = "ConnectionLost";
  readonly op: string;

  constructor(op: string) {
    super(`${op}: the connection broke before the answer; it may have acted`);
    this.op = op;
  }
}

/**
 * The session is over, and the client makes no further attempt to connect. `close` says how, if
 * the server closed the connection. `code` is its name, such as "sign_in_ended", or the code of the
 * error with which the server refused to resume, such as "banned"; empty: neither is the reason.
 */
export class Disconnected extends ClientError {
  override readonly name = "Disconnected";
  readonly close: CloseCode | undefined;
  readonly code: string;

  constructor(why: string, close?: CloseCode, code: string = close?.name ?? "") {
    super(why);
    this.close = close;
    this.code = code;
  }

  /** The same error for somebody else who waits. */
  again(): Disconnected {
    return new Disconnected(this.message, this.close, this.code);
  }
}

/** The session is no longer in a room, match or inbox. `code`: a code of the table of errors. */
export class TopicGone extends ClientError {
  override readonly name = "TopicGone";
  readonly topic: string;
  readonly code: ErrorCode;

  constructor(topic: string, code: ErrorCode) {
    super(`${topic} is lost: ${code}`);
    this.topic = topic;
    this.code = code;
  }
}

/** How a connection was closed. `name` is of the table of closes; "unnamed": by its range. */
export interface CloseCode {
  readonly code: number;
  readonly name: string;
  /** Whether a client should connect again. */
  readonly reconnect: boolean;
}

const STANDARD = new Set([1001, 1006, 1011, 1012, 1013]);

export function closeCode(code: number): CloseCode {
  const reconnect = STANDARD.has(code) || (code >= 3000 && code < 5000 && code % 1000 < 500);
  return { code, name: CLOSES[code] ?? "unnamed", reconnect };
}
