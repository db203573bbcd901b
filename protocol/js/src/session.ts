import { Accounts } from "./accounts.ts";
import type { Access } from "./access.ts";
import { waitMs } from "./backoff.ts";
import type { Caller, Keyed } from "./caller.ts";
import { keyOrNew } from "./calls.ts";
import { Channel, sleep } from "./channel.ts";
import type { CallOptions, Follower } from "./channel.ts";
import type { Request } from "./envelope.ts";
import type { Disconnected } from "./errors.ts";
import { RequestFailed, RequestTimedOut, TopicGone } from "./errors.ts";
import { Friends } from "./friends.ts";
import { Inbox } from "./inbox.ts";
import type { Endpoint } from "./link.ts";
import { Match } from "./match.ts";
import type {
  Answers,
  InboxState,
  MatchState,
  MatchSummary,
  Op,
  Position,
  Push,
  Requests,
  RoomState,
  SessionOpened,
} from "./messages.ts";
import { Room } from "./room.ts";
import type { Settings, Status } from "./settings.ts";
import { Storage } from "./storage.ts";
import { RETRY } from "./tables.ts";
import type { Numbered } from "./positions.ts";
import type { Topic } from "./topic.ts";

/** What is known of a topic beside its position. */
interface Followed {
  topic: Topic<Numbered> | undefined;
  /** Leaves that are under way. */
  leaving: number;
  /** How often it was lost for a reason that may pass. */
  losses: number;
  /** While it is lost: settles once it is joined again, or lost for good. */
  rejoining: Promise<void> | undefined;
}

/**
 * The session that `connect` opens.
 *
 * Every method that asks the server may reject with `RequestFailed`, `RequestTimedOut` and
 * `Disconnected`; and with `ConnectionLost` for a request that must not be sent twice, because it
 * has no idempotency key.
 */
export class Session implements Caller {
  /** The objects of the session's user on the server. */
  readonly storage: Storage;
  /** The friends, requests and blocks of the session's user. */
  readonly friends: Friends;
  /** The account of the session's user, and those of others. */
  readonly accounts: Accounts;
  readonly #settings: Settings;
  readonly #random: () => number;
  readonly #channel: Channel;
  readonly #topics = new Map<string, Followed>();

  private constructor(
    endpoint: Endpoint,
    greeting: Request,
    access: Access | undefined,
    settings: Settings,
    random: () => number,
  ) {
    this.#settings = settings;
    this.#random = random;
    this.storage = new Storage(this);
    this.friends = new Friends(this);
    this.accounts = new Accounts(this);
    const follower: Follower = {
      positions: () => this.#positions(),
      pushed: (push, open) => this.#pushed(push, open),
      ended: (why) => this.#ended(why),
    };
    this.#channel = new Channel(endpoint, greeting, access, settings, random, follower);
  }

  /** @internal */
  static async open(
    endpoint: Endpoint,
    greeting: Request,
    access: Access | undefined,
    settings: Settings,
    random: () => number,
  ): Promise<Session> {
    const session = new Session(endpoint, greeting, access, settings, random);
    await session.#channel.start();
    return session;
  }

  /** The session's `user` and `name`, its `token`, and the server's limits. */
  get opened(): SessionOpened {
    return this.#channel.opened as SessionOpened;
  }

  /** Whether there is a connection. Requests wait for one until their deadline. */
  get connected(): boolean {
    return this.#channel.connected;
  }

  /** @internal */
  get buffer(): number {
    return this.#settings.buffer;
  }

  /**
   * Breaks and returns of the connection until the session ends. If more than 64 wait to be read,
   * the oldest are dropped.
   */
  statuses(): AsyncIterable<Status> {
    return this.#channel.statuses;
  }

  /**
   * Join a room. If the session is in the room already, the same object is returned.
   *
   * If this times out after its request was sent, the answer still counts: the session is then in
   * the room, and another `join` returns it.
   */
  join(room: string): Promise<Room> {
    const make = (data: unknown): Room => new Room(this, data as RoomState);
    return this.#join(`room:${room}`, { op: "room.join", room }, make);
  }

  /** Take a place in a match, or come back to the user's place. */
  joinMatch(match: string): Promise<Match> {
    const make = (data: unknown): Match => new Match(this, data as MatchState, this.opened.user);
    return this.#join(`match:${match}`, { op: "match.join", match }, make);
  }

  /** Join the user's inbox, which is the same on all devices. */
  inbox(): Promise<Inbox> {
    const make = (data: unknown): Inbox => new Inbox(this, data as InboxState);
    return this.#join(`user:${this.opened.user}`, { op: "inbox.join" }, make);
  }

  /** Create a match of a game in the server's configuration, and join it. */
  async createMatch(
    game: string,
    params: Record<string, unknown> = {},
    options: Keyed = {},
  ): Promise<Match> {
    const key = keyOrNew(options.key);
    const { match } = await this.request("match.create", { game, params, key });
    return this.joinMatch(match);
  }

  /** Running matches, newest first, of one game or of all. */
  async matches(game?: string, limit = 50): Promise<MatchSummary[]> {
    return (await this.request("match.list", { game: game ?? null, limit })).matches;
  }

  /** The time to the server and back, in milliseconds. */
  async ping(): Promise<number> {
    const began = performance.now();
    await this.request("ping", {});
    return performance.now() - began;
  }

  /** Send any request; returns its answer. */
  request<O extends Op>(op: O, fields: Requests[O], options?: CallOptions): Promise<Answers[O]> {
    const ok = (data: unknown): Answers[O] => data as Answers[O];
    return this.#channel.call({ ...fields, op }, { ok }, options);
  }

  /**
   * Send a request about a topic that the session is in; returns its answer.
   *
   * A server that has lost the topic for a moment refuses the request, which has not acted then.
   * It is sent again once the session has joined the topic again.
   */
  async requestIn<O extends Op>(topic: string, op: O, fields: Requests[O]): Promise<Answers[O]> {
    const limitMs = this.#settings.requestTimeoutMs;
    const deadline = performance.now() + limitMs;
    const left = (): number => deadline - performance.now();
    for (;;) {
      const before = this.#topics.get(topic);
      const losses = before?.losses;
      if (before?.rejoining) await Promise.race([before.rejoining, sleep(left())]);
      if (left() <= 0) throw new RequestTimedOut(op, limitMs, false);
      try {
        return await this.request(op, fields, { timeoutMs: left() });
      } catch (error) {
        const refused = error instanceof RequestFailed && error.code === "not_joined";
        const now = this.#topics.get(topic);
        if (!refused || !now?.topic || now.losses === losses) throw error;
      }
    }
  }

  /**
   * Leave a topic (`room:...`, `match:...`, `user:...`) by this request. The session is in the
   * topic until the answer comes, and resumes it after a break.
   *
   * @internal
   */
  async leave<O extends Op>(topic: string, op: O, fields: Requests[O]): Promise<void> {
    const lost = (): void => {
      this.#followed(topic).leaving -= 1;
      this.#tidy(topic);
    };
    const ok = (): void => {
      this.#over(topic);
      lost();
    };
    this.#followed(topic).leaving += 1;
    await this.#channel.call({ ...fields, op }, { ok, lost });
  }

  /** End the session, on the server as well if it can be reached at once. */
  close(): Promise<void> {
    return this.#channel.leave();
  }

  #followed(topic: string): Followed {
    let followed = this.#topics.get(topic);
    if (followed === undefined) {
      followed = { topic: undefined, leaving: 0, losses: 0, rejoining: undefined };
      this.#topics.set(topic, followed);
    }
    return followed;
  }

  /** Forget a topic of which nothing is to be known. */
  #tidy(name: string): void {
    const followed = this.#topics.get(name);
    if (followed && !followed.topic && !followed.leaving && !followed.rejoining) {
      this.#topics.delete(name);
    }
  }

  /** Stop following a topic. Its iteration ends, or throws `error`. */
  #over(name: string, error?: Error): void {
    const followed = this.#topics.get(name);
    if (followed?.topic === undefined) return;
    followed.topic.feed.close(error);
    followed.topic = undefined;
    this.#tidy(name);
  }

  async #join<T extends Topic<any>>(
    name: string,
    request: Request,
    make: (data: unknown) => T,
  ): Promise<T> {
    const known = this.#topics.get(name);
    if (known?.topic !== undefined && !known.leaving) return known.topic as unknown as T;
    // There is a topic already if another join was answered first, or if a leave was refused.
    const ok = (data: unknown): T => (this.#followed(name).topic ??= make(data)) as unknown as T;
    return this.#channel.call(request, { ok, lost: () => {} });
  }

  #positions(): Record<string, Position> {
    const positions: Record<string, Position> = {};
    for (const [name, { topic }] of this.#topics) if (topic) positions[name] = topic.position;
    return positions;
  }

  #pushed(push: Push, open: AbortSignal | undefined): void {
    if (push.op === "topic.lost") {
      if (RETRY.has(push.code) && open) this.#lost(push.topic, open);
      else this.#over(push.topic, new TopicGone(push.topic, push.code));
      return;
    }
    const name = topicOf(push);
    if (name === undefined) return;
    this.#topics.get(name)?.topic?.pushed(push);
    if (push.op === "match.ended") this.#over(name);
  }

  #ended(why: Disconnected | undefined): void {
    for (const name of [...this.#topics.keys()]) {
      this.#over(name, why?.again());
    }
  }

  #lost(topic: string, open: AbortSignal): void {
    const followed = this.#followed(topic);
    followed.losses += 1;
    followed.rejoining ??= this.#rejoin(topic, open).finally(() => {
      followed.rejoining = undefined;
      this.#tidy(topic);
    });
  }

  /**
   * Join a topic again that was lost for a reason that may pass. A break of the connection ends
   * the attempts, because the next resume names the topic.
   */
  async #rejoin(name: string, open: AbortSignal): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      await sleep(waitMs(this.#settings.backoff, attempt, this.#random), open);
      const { topic, leaving } = this.#followed(name);
      if (topic === undefined || open.aborted) return;
      if (leaving) continue; // a join sent after the leave would undo it
      try {
        const ok = (data: unknown): void => topic.rejoined(data);
        await this.#channel.call(topic.joinRequest(), { ok }, { signal: open });
        return;
      } catch (error) {
        if (error instanceof RequestTimedOut) continue;
        if (!(error instanceof RequestFailed)) return; // the session is over, or the connection
        if (error.retry) continue;
        this.#over(name, new TopicGone(name, error.code));
        return;
      }
    }
  }
}

function topicOf(push: Push): string | undefined {
  if ("room" in push) return `room:${push.room}`;
  if ("match" in push) return `match:${push.match}`;
  if ("user" in push) return `user:${push.user}`;
  return undefined;
}
