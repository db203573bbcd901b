import type { Caller } from "./caller.ts";
import type { Request } from "./envelope.ts";
import { RequestFailed } from "./errors.ts";
import type {
  InputTaken,
  MatchEnded,
  MatchEvent,
  MatchRecovered,
  MatchState,
  MatchStatePush,
  Push,
} from "./messages.ts";
import type { Gap } from "./positions.ts";
import { Topic } from "./topic.ts";

export type MatchUpdate = MatchStatePush | MatchEvent | MatchEnded | Gap;

/**
 * A match that the session has joined. Iteration yields states, events and at last the end.
 *
 * Every event is yielded once and in order, also after breaks of the connection. If events had to
 * be skipped, a `Gap` stands in their place. States are conflated: a slow reader gets only the
 * newest. A state follows each break and each crash of the match, so the last state read is
 * always true.
 */
export class Match extends Topic<MatchStatePush | MatchEvent | MatchEnded> {
  readonly id: string;
  readonly game: string;
  /** Ticks a second; 0 for a game in turns. */
  readonly tickHz: number;
  /** The users who have a place. */
  players: string[];
  /** Player -> the name to show. */
  names: Record<string, string>;
  tick: number;
  /** The newest state received, of the game's own shape. */
  state: unknown;
  /** For each player the highest `seq` of an input that was answered before `state`. */
  acks: Record<string, number>;
  /** How it ended, once it has. */
  ended: MatchEnded | undefined;
  readonly #user: string;
  // The seq of a player only grows, even if another program takes over the player's place.
  #seq: number;

  /** @internal */
  constructor(caller: Caller, state: MatchState, user: string) {
    super(caller, { epoch: state.epoch, offset: state.offset }, [], 0);
    this.id = state.match;
    this.game = state.game;
    this.tickHz = state.tick_hz;
    this.players = [...state.players];
    this.names = { ...state.names };
    this.tick = state.tick;
    this.state = state.state;
    this.acks = { ...state.acks };
    this.#user = user;
    this.#seq = this.acks[user] ?? 0;
  }

  get topic(): string {
    return `match:${this.id}`;
  }

  /** The `seq` of the last input sent, as in `acks`. */
  get lastSeq(): number {
    return this.#seq;
  }

  /** Send an input; returns the tick at which it acts. It acts once, also after breaks. */
  async input(input: unknown): Promise<InputTaken> {
    if (this.#seq === Number.MAX_SAFE_INTEGER) {
      throw new RequestFailed("match.input", "seq_too_old", "no seq is left", false);
    }
    this.#seq += 1;
    return this.caller.request("match.input", { match: this.id, seq: this.#seq, input });
  }

  /** Give up the user's place. Iteration ends after the updates that have come. */
  leave(): Promise<void> {
    return this.caller.leave(this.topic, "match.leave", { match: this.id });
  }

  [Symbol.asyncIterator](): AsyncIterator<MatchUpdate, undefined> {
    return this.feed[Symbol.asyncIterator]();
  }

  /** @internal */
  joinRequest(): Request {
    return { op: "match.join", match: this.id };
  }

  /** @internal */
  pushed(push: Push): void {
    switch (push.op) {
      case "match.state":
        this.#take(push);
        break;
      case "match.event":
        this.#happened(push);
        break;
      case "match.ended":
        this.ended = push;
        this.feed.put(push);
        this.feed.close();
        break;
      case "match.restarted":
        this.restart({ epoch: push.epoch, offset: push.offset });
        this.#now(push.tick, push.state, {});
        break;
      case "match.recovered":
        this.recover({ epoch: push.epoch, offset: push.offset }, push.events, push.recovered);
        this.#cameBack(push);
        break;
    }
  }

  /** @internal */
  rejoined(data: unknown): void {
    const state = data as MatchState;
    const { epoch, offset } = state;
    const same = epoch === this.position.epoch && offset === this.position.offset;
    this.recover({ epoch, offset }, [], same);
    this.#cameBack(state);
  }

  #happened(push: MatchEvent): void {
    if (!this.take(push.offset)) return;
    const player = push.player ?? null;
    if (player !== null && push.kind === "joined" && !this.players.includes(player)) {
      this.players.push(player);
      const named = push.data as { name?: unknown } | null | undefined;
      this.names[player] = String(named?.name ?? player);
    } else if (push.kind === "left") {
      this.players = this.players.filter((one) => one !== player);
    }
    this.feed.put(push);
  }

  #cameBack(state: MatchState | MatchRecovered): void {
    this.players = [...state.players];
    this.names = { ...state.names };
    this.#now(state.tick, state.state, state.acks ?? {});
  }

  /** Yield the state that came with a recovery or a restart, like any other state. */
  #now(tick: number, state: unknown, acks: Record<string, number>): void {
    const { offset } = this.position;
    this.#take({ op: "match.state", match: this.id, offset, tick, state, acks });
  }

  #take(push: MatchStatePush): void {
    this.tick = push.tick;
    this.state = push.state;
    this.acks = { ...this.acks, ...push.acks };
    this.#seq = Math.max(this.#seq, push.acks[this.#user] ?? 0); // another device plays, too
    this.feed.put(push, "state");
  }
}
