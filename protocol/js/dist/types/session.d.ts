import { Accounts } from "./accounts.js";
import type { Caller, Keyed } from "./caller.js";
import type { CallOptions } from "./channel.js";
import { Friends } from "./friends.js";
import { Inbox } from "./inbox.js";
import { Match } from "./match.js";
import type { Answers, MatchSummary, Op, Requests, SessionOpened } from "./messages.js";
import { Room } from "./room.js";
import type { Status } from "./settings.js";
import { Storage } from "./storage.js";
/**
 * The session that `connect` opens.
 *
 * Every method that asks the server may reject with `RequestFailed`, `RequestTimedOut` and
 * `Disconnected`; and with `ConnectionLost` for a request that must not be sent twice, because it
 * has no idempotency key.
 */
export declare class Session implements Caller {
    #private;
    /** The objects of the session's user on the server. */
    readonly storage: Storage;
    /** The friends, requests and blocks of the session's user. */
    readonly friends: Friends;
    /** The account of the session's user, and those of others. */
    readonly accounts: Accounts;
    private constructor();
    /** The session's `user` and `name`, its `token`, and the server's limits. */
    get opened(): SessionOpened;
    /** Whether there is a connection. Requests wait for one until their deadline. */
    get connected(): boolean;
    /**
     * Breaks and returns of the connection until the session ends. If more than 64 wait to be read,
     * the oldest are dropped.
     */
    statuses(): AsyncIterable<Status>;
    /**
     * Join a room. If the session is in the room already, the same object is returned.
     *
     * If this times out after its request was sent, the answer still counts: the session is then in
     * the room, and another `join` returns it.
     */
    join(room: string): Promise<Room>;
    /** Take a place in a match, or come back to the user's place. */
    joinMatch(match: string): Promise<Match>;
    /** Join the user's inbox, which is the same on all devices. */
    inbox(): Promise<Inbox>;
    /** Create a match of a game in the server's configuration, and join it. */
    createMatch(game: string, params?: Record<string, unknown>, options?: Keyed): Promise<Match>;
    /** Running matches, newest first, of one game or of all. */
    matches(game?: string, limit?: number): Promise<MatchSummary[]>;
    /** The time to the server and back, in milliseconds. */
    ping(): Promise<number>;
    /** Send any request; returns its answer. */
    request<O extends Op>(op: O, fields: Requests[O], options?: CallOptions): Promise<Answers[O]>;
    /**
     * Send a request about a topic that the session is in; returns its answer.
     *
     * A server that has lost the topic for a moment refuses the request, which has not acted then.
     * It is sent again once the session has joined the topic again.
     */
    requestIn<O extends Op>(topic: string, op: O, fields: Requests[O]): Promise<Answers[O]>;
    /** End the session, on the server as well if it can be reached at once. */
    close(): Promise<void>;
}
