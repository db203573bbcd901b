import type { Caller, Page } from "./caller.ts";
import type { Request } from "./envelope.ts";
import type { Entry, InboxEntry, InboxMark, InboxPage, InboxState, Push } from "./messages.ts";
import type { Gap } from "./positions.ts";
import { Topic } from "./topic.ts";

/** How many entries are kept to recognize repeated ones after a break. */
const REMEMBERED = 64;

/**
 * The inbox of the session's user, the same on all devices. Iteration yields each new entry once,
 * in order; a `Gap` stands in the place of entries that had to be skipped.
 */
export class Inbox extends Topic<InboxEntry> {
  readonly user: string;
  /** The last entries before the join, oldest first. */
  readonly backlog: readonly Entry[];
  /** The offset up to which the user has read the inbox, on any device. */
  read: number;

  /** @internal */
  constructor(caller: Caller, state: InboxState) {
    const entries = state.entries.map((entry) => pushOf(state.user, entry));
    super(caller, { epoch: state.epoch, offset: state.offset }, entries, REMEMBERED);
    this.user = state.user;
    this.backlog = state.entries;
    this.read = state.read;
  }

  get topic(): string {
    return `user:${this.user}`;
  }

  /** Entries received that are not marked as read. */
  get unread(): number {
    return Math.max(0, this.position.offset - this.read);
  }

  /** A page of the inbox, oldest first. */
  history(page: Page = {}): Promise<InboxPage> {
    return this.caller.requestIn(this.topic, "inbox.history", { ...page });
  }

  /** Mark every entry up to `offset` as read; by default up to the last one received. */
  async markRead(offset: number = this.position.offset): Promise<InboxMark> {
    const mark = await this.caller.requestIn(this.topic, "inbox.read", { offset });
    this.read = Math.max(this.read, mark.read);
    return mark;
  }

  /** Leave the inbox, in this session. Iteration ends after the entries that have come. */
  leave(): Promise<void> {
    return this.caller.leave(this.topic, "inbox.leave", {});
  }

  [Symbol.asyncIterator](): AsyncIterator<InboxEntry | Gap, undefined> {
    return this.feed[Symbol.asyncIterator]();
  }

  /** @internal */
  joinRequest(): Request {
    return { op: "inbox.join" };
  }

  /** @internal */
  pushed(push: Push): void {
    switch (push.op) {
      case "inbox.entry":
        if (this.take(push.offset)) this.yield(pushOf(this.user, push));
        break;
      case "inbox.marked":
        this.read = Math.max(this.read, push.read);
        break;
      case "inbox.recovered":
        this.#recovered(push, push.recovered);
        break;
    }
  }

  /** @internal */
  rejoined(data: unknown): void {
    const state = data as InboxState;
    const { offset } = this.position;
    const bridged =
      state.epoch === this.position.epoch &&
      state.offset - state.entries.length <= offset &&
      offset <= state.offset;
    this.#recovered(state, bridged);
  }

  #recovered(state: Omit<InboxState, "user">, recovered: boolean): void {
    this.read = Math.max(this.read, state.read);
    const entries = state.entries.map((entry) => pushOf(this.user, entry));
    this.recover({ epoch: state.epoch, offset: state.offset }, entries, recovered);
  }
}

/** An entry as the push that it was, field by field: what is remembered is compared as JSON. */
function pushOf(user: string, { offset, type, payload, at }: Entry): InboxEntry {
  return { op: "inbox.entry", user, offset, type, payload, at };
}
