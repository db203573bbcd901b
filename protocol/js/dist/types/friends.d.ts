import type { Keyed } from "./caller.js";
import type { Blocked, Friend, FriendTie } from "./messages.js";
/**
 * The friends, requests and blocks of a session's user. What others do is told by entries of the
 * type `friend.tie` in the inbox.
 */
export declare class Friends {
    #private;
    /** Ask a user to be a friend; if that user has asked already, they are friends at once. */
    request(user: string, options?: Keyed): Promise<FriendTie>;
    /** Accept the request of a user. */
    accept(user: string, options?: Keyed): Promise<FriendTie>;
    /** Decline the request of a user, if there is one. */
    decline(user: string, options?: Keyed): Promise<null>;
    /** End a friendship, or take a request back, if there is one. */
    remove(user: string, options?: Keyed): Promise<null>;
    /** Block a user: nothing of that one is shown any more; friendship and requests end. */
    block(user: string, options?: Keyed): Promise<null>;
    /** Block a user no longer. */
    unblock(user: string, options?: Keyed): Promise<null>;
    /** Friends and requests by the id of the other, or those of one state, `page` at a time. */
    list({ state, page }?: {
        state?: Friend["state"];
        page?: number;
    }): AsyncGenerator<Friend, void>;
    /** The users that the user has blocked, by id. */
    blocked({ page }?: {
        page?: number;
    }): AsyncGenerator<Blocked, void>;
}
