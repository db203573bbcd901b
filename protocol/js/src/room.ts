import type { Caller, Keyed, Page } from "./caller.ts";
import { keyOrNew } from "./calls.ts";
import type { Request } from "./envelope.ts";
import type {
  History,
  Member,
  Message,
  Push,
  RoomJoined,
  RoomLeft,
  RoomMessage,
  RoomPresence,
  RoomState,
  Sent,
} from "./messages.ts";
import type { Gap } from "./positions.ts";
import { Topic } from "./topic.ts";

/**
 * How many messages are kept to tell a repeated message from a rewritten one after a crash of the
 * room. The server keeps fewer in memory (128 by default), and sends no more than those.
 */
const REMEMBERED = 256;

export type RoomUpdate = RoomMessage | RoomJoined | RoomLeft | RoomPresence | Gap;

/**
 * A chat room that the session has joined. Iteration yields each message once, in order.
 *
 *     for await (const message of room) {
 *       if (message.op === "gap") ... // some are missing; `history` may have them
 *     }
 *
 * After a break of the connection iteration goes on where it stopped. `updates()` also yields who
 * comes and goes; in a big room that is a `room.presence` now and then.
 */
export class Room extends Topic<RoomMessage | RoomJoined | RoomLeft | RoomPresence> {
  readonly name: string;
  /** The last messages before the join, oldest first. */
  readonly backlog: readonly Message[];
  /** The number of users in the room. `members` may have only those who came first. */
  membersTotal: number;
  #members: Map<string, Member>;

  /** @internal */
  constructor(caller: Caller, state: RoomState) {
    const said = state.messages.map((message) => pushOf(state.room, message));
    super(caller, { epoch: state.epoch, offset: state.offset }, said, REMEMBERED);
    this.name = state.room;
    this.backlog = state.messages;
    this.membersTotal = state.members_total;
    this.#members = byUser(state.members);
  }

  get topic(): string {
    return `room:${this.name}`;
  }

  /** The members in the order they came, kept up to date by pushes. */
  get members(): Member[] {
    return [...this.#members.values()];
  }

  /** Send a message; returns its offset and time once it is durable. */
  send(body: string, options: Keyed = {}): Promise<Sent> {
    const key = keyOrNew(options.key);
    return this.caller.requestIn(this.topic, "room.send", { room: this.name, body, key });
  }

  /** A page of what was said, oldest first. */
  history(page: Page = {}): Promise<History> {
    return this.caller.requestIn(this.topic, "room.history", { room: this.name, ...page });
  }

  /** Ask the server for the members. It names those who came first (100 by default). */
  async refreshMembers(): Promise<Member[]> {
    const answer = await this.caller.requestIn(this.topic, "room.members", { room: this.name });
    this.#setMembers(answer.members, answer.members_total);
    return this.members;
  }

  /**
   * Leave the room. Iteration ends after the messages that have come. After an error the session
   * is still in the room, and may leave again.
   */
  leave(): Promise<void> {
    return this.caller.leave(this.topic, "room.leave", { room: this.name });
  }

  /** Messages, and who comes and goes. It reads the same feed: an update goes to one reader. */
  updates(): AsyncIterable<RoomUpdate> {
    return this.feed;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<RoomMessage | Gap, void> {
    for await (const update of this.feed) {
      if (update.op === "room.message" || update.op === "gap") yield update;
    }
  }

  /** @internal */
  joinRequest(): Request {
    return { op: "room.join", room: this.name };
  }

  /** @internal */
  pushed(push: Push): void {
    switch (push.op) {
      case "room.message":
        if (this.take(push.offset)) this.yield(pushOf(this.name, push));
        break;
      case "room.joined":
        if (!this.#members.has(push.member.user)) {
          this.#members.set(push.member.user, push.member);
          this.membersTotal += 1;
        }
        this.feed.put(push);
        break;
      case "room.left":
        this.#members.delete(push.member.user);
        this.membersTotal = Math.max(this.#members.size, this.membersTotal - 1);
        this.feed.put(push);
        break;
      case "room.presence":
        for (const member of push.left) this.#members.delete(member.user);
        for (const member of push.joined) {
          if (!this.#members.has(member.user)) this.#members.set(member.user, member);
        }
        this.membersTotal = push.members_total;
        this.feed.put(push);
        break;
      case "room.restarted":
        this.restart({ epoch: push.epoch, offset: push.offset });
        break;
      case "room.recovered":
        this.#recovered(push, push.recovered);
        break;
    }
  }

  /** @internal */
  rejoined(data: unknown): void {
    const state = data as RoomState;
    // The answer does not say what was missed: nothing, if its messages reach our position.
    const bridged =
      state.epoch === this.position.epoch &&
      state.offset - state.messages.length <= this.position.offset;
    this.#recovered(state, bridged);
  }

  #recovered(state: Omit<RoomState, "room">, recovered: boolean): void {
    const said = state.messages.map((message) => pushOf(this.name, message));
    this.recover({ epoch: state.epoch, offset: state.offset }, said, recovered);
    this.#setMembers(state.members, state.members_total);
  }

  #setMembers(members: readonly Member[], total: number): void {
    this.#members = byUser(members);
    this.membersTotal = total;
  }
}

/** A message as the push that it was, field by field: what is remembered is compared as JSON. */
function pushOf(room: string, { offset, user, name, body, at }: Message): RoomMessage {
  return { op: "room.message", room, offset, user, name, body, at };
}

function byUser(members: readonly Member[]): Map<string, Member> {
  return new Map(members.map((member) => [member.user, member]));
}
