import type { InputTaken, MatchEnded, MatchEvent, MatchStatePush } from "./messages.js";
import type { Gap } from "./positions.js";
import { Topic } from "./topic.js";
export type MatchUpdate = MatchStatePush | MatchEvent | MatchEnded | Gap;
/**
 * A match that the session has joined. Iteration yields states, events and at last the end.
 *
 * Every event is yielded once and in order, also after breaks of the connection. If events had to
 * be skipped, a `Gap` stands in their place. States are conflated: a slow reader gets only the
 * newest. A state follows each break and each crash of the match, so the last state read is
 * always true.
 */
export declare class Match extends Topic<MatchStatePush | MatchEvent | MatchEnded> {
    #private;
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
    get topic(): string;
    /** The `seq` of the last input sent, as in `acks`. */
    get lastSeq(): number;
    /** Send an input; returns the tick at which it acts. It acts once, also after breaks. */
    input(input: unknown): Promise<InputTaken>;
    /** Give up the user's place. Iteration ends after the updates that have come. */
    leave(): Promise<void>;
    [Symbol.asyncIterator](): AsyncIterator<MatchUpdate, undefined>;
}
