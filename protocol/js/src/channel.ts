import type { Access, Expiring } from "./access.ts";
import { waitAfterDrainMs, waitMs } from "./backoff.ts";
import { Calls, refusal } from "./calls.ts";
import type { Call, Outcome } from "./calls.ts";
import type { Codec, Payload } from "./codec.ts";
import type { ErrorReply, Ok, Request, ServerMessage } from "./envelope.ts";
import {
  CannotConnect,
  ClientError,
  closeCode,
  Disconnected,
  RequestFailed,
  RequestTimedOut,
} from "./errors.ts";
import { Feed } from "./feed.ts";
import { Link } from "./link.ts";
import type { Endpoint } from "./link.ts";
import type { Position, Push, SessionOpened } from "./messages.ts";
import type { Settings, Status } from "./settings.ts";

/** After so many keep-alive intervals without a message the connection counts as lost. */
const SILENT_KEEPALIVES = 3;
/** How many steps of the back-off are skipped when the server says that it is overloaded. */
const OVERLOADED_ATTEMPTS = 4;
const DRAIN = 4000;
const OVERLOADED = 4004;
/** Closes a session whose access token has run out. With a fresh one the session goes on. */
const TOKEN_RAN_OUT = 4503;

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

interface Greeting {
  readonly op: string;
  resolve(): void;
  reject(error: ClientError): void;
}

/**
 * The requests and pushes of a session, over one connection after the other.
 *
 * The channel opens a connection, opens or resumes the session on it, and serves it. When it
 * breaks, the channel tries to open another one, as the table of closes and the back-off say. It
 * does not interpret pushes; its `Follower` does.
 */
export class Channel {
  connected = false;
  readonly statuses = new Feed<Status>(64);
  /** The server's answer to the open or resume on the newest connection. */
  opened: SessionOpened | undefined;
  readonly #endpoint: Endpoint;
  readonly #codec: Codec;
  readonly #greeting: Request;
  readonly #access: Access | undefined;
  readonly #settings: Settings;
  readonly #random: () => number;
  readonly #follower: Follower;
  readonly #calls: Calls;
  /** Aborted when the session is left; it ends every wait. */
  readonly #left = new AbortController();
  #link: Link | undefined;
  #open = new AbortController();
  #greeted: Greeting | undefined;
  #upAt = -Infinity;
  #over: Disconnected | undefined;
  #ended!: () => void;
  readonly #end = new Promise<void>((resolve) => {
    this.#ended = resolve;
  });

  /**
   * @param greeting the request that opens the session on its first connection.
   * @param access brings access tokens; undefined: the user is a guest.
   */
  constructor(
    endpoint: Endpoint,
    greeting: Request,
    access: Access | undefined,
    settings: Settings,
    random: () => number,
    follower: Follower,
  ) {
    this.#endpoint = endpoint;
    this.#codec = endpoint.codec;
    this.#greeting = greeting;
    this.#access = access;
    this.#settings = settings;
    this.#random = random;
    this.#follower = follower;
    this.#calls = new Calls(settings.inFlight);
  }

  /**
   * Open the first connection, and keep one open from then on.
   *
   * @throws CannotConnect, RequestFailed, Disconnected: the first connection failed.
   */
  async start(): Promise<void> {
    void this.#hold(await this.#connect());
  }

  /** Send a request; returns the result of `outcome.ok` for the answer. */
  async call<T>(request: Request, outcome: Outcome<T>, options: CallOptions = {}): Promise<T> {
    const limitMs = options.timeoutMs ?? this.#settings.requestTimeoutMs;
    const call = this.#add(request, outcome);
    const abandon = (error: Error): void => {
      this.#calls.forget(call);
      call.abandon(error);
    };
    const { signal } = options;
    const aborted = (): void => abandon(signal?.reason);
    const late = (): void => abandon(new RequestTimedOut(request.op, limitMs, call.sent));
    const timer = setTimeout(late, limitMs);
    signal?.addEventListener("abort", aborted);
    if (signal?.aborted) aborted();
    this.#write();
    try {
      return (await call.done) as T;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", aborted);
      this.#write(); // others may have waited for its place
    }
  }

  /** End the session: here, and on the server too if there is a connection. */
  async leave(): Promise<void> {
    if (this.#over === undefined && this.connected) {
      const timeoutMs = this.#settings.closeTimeoutMs;
      this.#left.abort();
      const closing = this.call({ op: "session.close" }, { ok: () => null }, { timeoutMs });
      const limit = new AbortController();
      // The server closes the connection behind its answer.
      const closed = closing.then(() => this.#end).catch(() => {});
      await Promise.race([closed, sleep(timeoutMs, limit.signal)]);
      limit.abort();
    }
    this.#left.abort();
    this.#finish(new Disconnected("the session was left"));
    this.#link?.close(new Disconnected("the session was left", closeCode(1000)));
  }

  /** Keep a connection open, at first `link`, until the session is over or left. */
  async #hold(link: Link): Promise<void> {
    let attempt = 0;
    let error = await this.#serve(link);
    let downSince = performance.now();
    for (;;) {
      let drained = false;
      if (this.connected) {
        this.connected = false;
        downSince = performance.now();
        drained = error instanceof Disconnected && error.close?.code === DRAIN;
        if (drained || downSince - this.#upAt >= this.#settings.stableAfterMs) attempt = 0;
      }
      if (this.#left.signal.aborted || !this.#worthAnother(error)) {
        this.#finish(asEnding(error));
      } else if (performance.now() - downSince >= this.#settings.giveUpAfterMs) {
        this.#finish(new Disconnected(`gave up: ${error.message}`));
      }
      if (this.#over !== undefined) return;
      if (error instanceof Disconnected && error.close?.code === OVERLOADED) {
        attempt = Math.max(attempt, OVERLOADED_ATTEMPTS);
      }
      const { backoff } = this.#settings;
      const wait = drained
        ? waitAfterDrainMs(backoff, this.#random)
        : waitMs(backoff, attempt, this.#random);
      attempt += 1;
      this.statuses.put({ status: "reconnecting", attempt, waitMs: wait, error });
      await sleep(wait, this.#left.signal);
      if (this.#left.signal.aborted) continue;
      try {
        error = await this.#serve(await this.#connect());
      } catch (failed) {
        error = failed instanceof ClientError ? failed : new ClientError(String(failed));
      }
    }
  }

  /** Connect, and open or resume. */
  async #connect(): Promise<Link> {
    const greeting = await this.#nextGreeting();
    const link = await Link.open(this.#endpoint, (message) => this.#received(message));
    this.#link = link;
    try {
      await this.#greet(link, greeting);
    } catch (error) {
      link.close(error as ClientError);
      this.#broke();
      throw error;
    }
    return link;
  }

  /** Wait for the end of a connection; returns why it ended. */
  async #serve(link: Link): Promise<ClientError> {
    const everyMs = (this.opened?.keepalive_s ?? 0) * 1000;
    const watch = everyMs > 0 ? setInterval(this.#watch(link), everyMs) : undefined;
    const error = await link.ended;
    clearInterval(watch);
    this.#broke();
    return error;
  }

  /**
   * Return a function that looks whether anything was heard, and closes a silent connection.
   *
   * A browser hides the server's pings from its page, so the client sends pings of its own. It
   * counts looks and not seconds, because a browser that sleeps, or has the page in the background,
   * looks late.
   */
  #watch(link: Link): () => void {
    let silent = 0;
    return () => {
      silent = link.heard ? 0 : silent + 1;
      link.heard = false;
      if (silent >= SILENT_KEEPALIVES) {
        link.close(new Disconnected("nothing was heard for too long", closeCode(1006)));
      } else {
        link.send(this.#codec.encode({ op: "ping", ref: 0 }));
      }
    };
  }

  async #nextGreeting(): Promise<Request> {
    const token = await this.#access?.token();
    if (this.opened === undefined) {
      const isOpen = this.#greeting.op === "session.open";
      return { ...this.#greeting, ...(isOpen ? token && { token } : { access: token }) };
    }
    const positions = this.#follower.positions();
    return { op: "session.resume", token: this.opened.token, positions, access: token };
  }

  /** Give the session a fresh access token. */
  async #renew(): Promise<void> {
    try {
      const request = { op: "session.renew", access: await this.#access?.token() };
      const ok = (data: unknown): void => this.#renewed(data as Expiring);
      await this.call(request, { ok }, { signal: this.#open.signal });
    } catch {
      // When the old token runs out, the server closes the connection, and the next connection
      // begins with a fresh token.
    }
  }

  #renewed(now: Expiring): void {
    this.opened = { ...(this.opened as SessionOpened), ...now };
    this.#access?.watch(now, () => void this.#renew());
  }

  #greet(link: Link, greeting: Request): Promise<void> {
    const { connectTimeoutMs } = this.#settings;
    return new Promise((resolve, reject) => {
      const why = `no answer to ${greeting.op}`;
      const late = (): void => reject(new CannotConnect(this.#endpoint.url, why));
      const timer = setTimeout(late, connectTimeoutMs);
      this.#greeted = {
        op: greeting.op,
        resolve: () => {
          clearTimeout(timer);
          resolve();
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      void link.ended.then((error) => this.#greeted?.reject(error));
      link.send(this.#codec.encode({ ...greeting, ref: 0 }));
    });
  }

  #received(message: ServerMessage): void {
    if (message.op === "ok" || message.op === "error") {
      const greeted = this.#greeted;
      if (greeted === undefined) {
        this.#calls.settle(message);
        this.#write();
      } else {
        this.#greeted = undefined;
        this.#welcomed(greeted, message);
      }
    } else if (message.op === "session.expiring") {
      void this.#renew();
    } else {
      this.#follower.pushed(message, this.connected ? this.#open.signal : undefined);
    }
  }

  /** Take the answer to the open or resume. The next message may follow it at once. */
  #welcomed(greeted: Greeting, reply: Ok | ErrorReply): void {
    if (reply.op === "error") {
      greeted.reject(refusal(greeted.op, reply));
      return;
    }
    if (this.#over !== undefined) {
      greeted.reject(this.#over);
      return;
    }
    const first = this.opened === undefined;
    const opened = reply.data as SessionOpened;
    this.opened = opened;
    this.connected = true;
    this.#open = new AbortController();
    this.#upAt = performance.now();
    if (!first) this.statuses.put({ status: "connected", resumed: opened.resumed });
    this.#access?.watch(opened, () => void this.#renew());
    greeted.resolve();
    this.#write();
  }

  /** Send what waits, as far as it may be sent. */
  #write(): void {
    if (!this.connected || this.#open.signal.aborted) return;
    for (let call = this.#calls.nextToSend(); call; call = this.#calls.nextToSend()) {
      this.#link?.send(call.payload);
    }
  }

  #broke(): void {
    this.#access?.stop();
    this.#greeted = undefined;
    this.#link = undefined;
    this.#open.abort();
    this.#calls.broke();
  }

  #add<T>(request: Request, outcome: Outcome<T>): Call {
    try {
      if (this.#over !== undefined) throw this.#over.again();
      return this.#calls.add(request, (one) => this.#encode(one), outcome);
    } catch (error) {
      outcome.lost?.();
      throw error;
    }
  }

  #encode(request: Request): Payload {
    const payload = this.#codec.encode(request);
    const most = this.opened?.max_message_bytes ?? Infinity;
    const bytes = this.#codec.bytes(payload);
    if (bytes > most) {
      // The server would close the connection for such a message, which ends the session.
      throw new RequestFailed(request.op, "too_long", `${bytes} bytes; it takes ${most}`, false);
    }
    return payload;
  }

  /** Whether to connect again, by the tables of closes and errors. */
  #worthAnother(error: ClientError): boolean {
    if (error instanceof Disconnected) {
      const ranOut = error.close?.code === TOKEN_RAN_OUT && this.#access?.renewable;
      return ranOut || (error.close?.reconnect ?? false);
    }
    if (error instanceof RequestFailed) {
      return error.retry || (error.code === "token_expired" && !!this.#access?.renewable);
    }
    return error instanceof CannotConnect && !error.permanent;
  }

  #finish(why: Disconnected): void {
    if (this.#over !== undefined) return;
    this.#over = why;
    this.connected = false;
    this.#open.abort();
    this.#calls.end(() => why.again());
    this.#follower.ended(this.#left.signal.aborted ? undefined : why);
    this.statuses.close();
    this.#ended();
  }
}

/** How a session ends with this error. */
function asEnding(error: ClientError): Disconnected {
  if (error instanceof Disconnected) return error;
  const code = error instanceof RequestFailed ? error.code : "";
  return new Disconnected(error.message, undefined, code);
}

/** Wait; an aborted signal ends the wait. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const over = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", over);
      resolve();
    };
    const timer = setTimeout(over, ms);
    signal?.addEventListener("abort", over);
  });
}
