import { Access } from "./access.ts";
import type { AccessToken } from "./access.ts";
import { CODECS } from "./codec.ts";
import type { Request } from "./envelope.ts";
import { ClientError } from "./errors.ts";
import type { WebSocketClass } from "./link.ts";
import { Session } from "./session.ts";
import { DEFAULTS } from "./settings.ts";
import type { Settings } from "./settings.ts";

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
export async function connect(url: string, options: ConnectOptions): Promise<Session> {
  const settings = { ...DEFAULTS, ...options.settings };
  const WebSocket = options.WebSocket ?? (globalThis.WebSocket as WebSocketClass | undefined);
  if (WebSocket === undefined) throw new ClientError("no WebSocket here; give one as an option");
  const endpoint = {
    url,
    codec: CODECS[options.encoding ?? "msgpack"],
    WebSocket,
    timeoutMs: settings.connectTimeoutMs,
  };
  const access = options.token === undefined ? undefined : new Access(options.token, url);
  const random = options.random ?? Math.random;
  return Session.open(endpoint, greeting(options), access, settings, random);
}

function greeting({ name, resume }: ConnectOptions): Request {
  if ((name === undefined) === (resume === undefined)) {
    throw new ClientError("give either a name or a session to resume");
  }
  if (resume !== undefined) return { op: "session.resume", token: resume };
  return { op: "session.open", name };
}
