import type { Page } from "./caller.js";
import type { Entry, InboxEntry, InboxMark, InboxPage } from "./messages.js";
import type { Gap } from "./positions.js";
import { Topic } from "./topic.js";
/**
 * The inbox of the session's user, the same on all devices. Iteration yields each new entry once,
 * in order; a `Gap` stands in the place of entries that had to be skipped.
 */
export declare class Inbox extends Topic<InboxEntry> {
    #private;
    readonly user: string;
    /** The last entries before the join, oldest first. */
    readonly backlog: readonly Entry[];
    /** The offset up to which the user has read the inbox, on any device. */
    read: number;
    get topic(): string;
    /** Entries received that are not marked as read. */
    get unread(): number;
    /** A page of the inbox, oldest first. */
    history(page?: Page): Promise<InboxPage>;
    /** Mark every entry up to `offset` as read; by default up to the last one received. */
    markRead(offset?: number): Promise<InboxMark>;
    /** Leave the inbox, in this session. Iteration ends after the entries that have come. */
    leave(): Promise<void>;
    [Symbol.asyncIterator](): AsyncIterator<InboxEntry | Gap, undefined>;
}
