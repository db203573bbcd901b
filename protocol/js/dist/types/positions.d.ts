import type { Position } from "./messages.js";
/**
 * The pushes with the offsets `first` to `last` were not yielded, or were taken back.
 *
 * - `away`: the client missed more while it was disconnected than the server keeps at hand. The
 *   history of a room or an inbox still has it.
 * - `behind`: this program read more slowly than pushes came, and the oldest were dropped.
 * - `void`: a crash took back pushes that were not durable yet. The pushes yielded with these
 *   offsets do not exist any more, and other pushes get these offsets.
 * - `hole`: the server left these offsets out, which it never should.
 */
export interface Gap {
    readonly op: "gap";
    readonly cause: "away" | "behind" | "void" | "hole";
    readonly first: number;
    readonly last: number;
}
/** A durable push, which has an offset on its topic. */
export interface Numbered {
    readonly op: string;
    readonly offset: number;
}
export interface Step<T> {
    /** The new position. */
    readonly at: Position;
    /** What is to be yielded. */
    readonly updates: (T | Gap)[];
}
/** Take one durable push, over a gap if there is one; undefined: it was taken before. */
export declare function take(at: Position, offset: number): Step<never> | undefined;
/** Go on from the position of the topic's actor after its restart. */
export declare function restart(at: Position, now: Position): Step<never>;
/**
 * Apply the answer to a resume of the topic.
 *
 * @param at the position before the resume.
 * @param now the position in the answer.
 * @param pushes the pushes in the answer, oldest first.
 * @param recovered whether `pushes` are all that was missed.
 * @param seen the last pushes taken before, to tell a repeated push from a rewritten one.
 */
export declare function recover<T extends Numbered>(at: Position, now: Position, pushes: readonly T[], recovered: boolean, seen: readonly T[]): Step<T>;
/**
 * The gap for everything dropped so far and `dropped`; undefined: none of it was durable. A gap
 * that is dropped is merged into it whatever its cause was, as the reader missed it too.
 */
export declare function widen(missing: Gap | undefined, dropped: Gap | Numbered): Gap | undefined;
