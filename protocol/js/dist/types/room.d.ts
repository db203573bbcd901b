import type { Keyed, Page } from "./caller.js";
import type { History, Member, Message, RoomJoined, RoomLeft, RoomMessage, RoomPresence, Sent } from "./messages.js";
import type { Gap } from "./positions.js";
import { Topic } from "./topic.js";
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
export declare class Room extends Topic<RoomMessage | RoomJoined | RoomLeft | RoomPresence> {
    #private;
    readonly name: string;
    /** The last messages before the join, oldest first. */
    readonly backlog: readonly Message[];
    /** The number of users in the room. `members` may have only those who came first. */
    membersTotal: number;
    get topic(): string;
    /** The members in the order they came, kept up to date by pushes. */
    get members(): Member[];
    /** Send a message; returns its offset and time once it is durable. */
    send(body: string, options?: Keyed): Promise<Sent>;
    /** A page of what was said, oldest first. */
    history(page?: Page): Promise<History>;
    /** Ask the server for the members. It names those who came first (100 by default). */
    refreshMembers(): Promise<Member[]>;
    /**
     * Leave the room. Iteration ends after the messages that have come. After an error the session
     * is still in the room, and may leave again.
     */
    leave(): Promise<void>;
    /** Messages, and who comes and goes. It reads the same feed: an update goes to one reader. */
    updates(): AsyncIterable<RoomUpdate>;
    [Symbol.asyncIterator](): AsyncGenerator<RoomMessage | Gap, void>;
}
