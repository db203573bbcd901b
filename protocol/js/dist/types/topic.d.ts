import type { Caller } from "./caller.js";
import type { Position } from "./messages.js";
import type { Numbered } from "./positions.js";
/**
 * What `Room`, `Match` and `Inbox` have in common: the position on the topic, and the feed of its
 * updates. Each durable push is yielded once.
 */
export declare abstract class Topic<P extends Numbered> {
    #private;
    /** The position of the last push received; the iterator may be behind it. */
    position: Position;
    protected readonly caller: Caller;
    /**
     * @param position where the topic stood at the join.
     * @param seen the last pushes before the join.
     * @param remembered how many pushes are kept to recognize repeated ones after a break.
     */
    constructor(caller: Caller, position: Position, seen: readonly P[], remembered: number);
    /** The topic's name in positions: `room:lobby`. */
    abstract readonly topic: string;
    /** Move to a durable push, and yield the gap before it, if any; false: it was taken before. */
    protected take(offset: number): boolean;
    /** Go on from the position of the topic's actor after its restart. */
    protected restart(now: Position): void;
    /** Take the answer to a resume, and yield what is new in it. */
    protected recover(now: Position, pushes: readonly P[], recovered: boolean): void;
    /** Yield a durable push, and remember it. */
    protected yield(push: P): void;
}
