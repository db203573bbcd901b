/**
 * The updates of a topic that the program has not read yet, in a bounded queue.
 *
 * A full feed drops its oldest items. One value stands for all of them, and is read next. If there
 * are several readers, each item goes to one of them. If a reader stops (`break`), another one can
 * go on.
 */
export declare class Feed<T> implements AsyncIterable<T> {
    #private;
    /** How many items were dropped because the reader was behind. */
    dropped: number;
    /** How many items were dropped because a newer one of their slot came. */
    conflated: number;
    /**
     * @param capacity the most items that wait.
     * @param standIn makes the value that stands for dropped items, from the value so far and the
     *   next dropped item; undefined if none is needed.
     */
    constructor(capacity: number, standIn?: (missing: T | undefined, dropped: T) => T | undefined);
    /** Append an item. With `slot`, an older item of the slot that still waits is dropped. */
    put(value: T, slot?: string): void;
    /** End the feed. Items that wait are still read; then iteration ends, or throws `error`. */
    close(error?: Error): void;
    next(): Promise<IteratorResult<T, undefined>>;
    [Symbol.asyncIterator](): AsyncIterator<T, undefined>;
}
