interface Waiting<T> {
  resolve(result: IteratorResult<T, undefined>): void;
  reject(error: Error): void;
}

interface Item<T> {
  readonly value: T;
  readonly slot: string | undefined;
}

/**
 * The updates of a topic that the program has not read yet, in a bounded queue.
 *
 * A full feed drops its oldest items. One value stands for all of them, and is read next. If there
 * are several readers, each item goes to one of them. If a reader stops (`break`), another one can
 * go on.
 */
export class Feed<T> implements AsyncIterable<T> {
  /** How many items were dropped because the reader was behind. */
  dropped = 0;
  /** How many items were dropped because a newer one of their slot came. */
  conflated = 0;
  readonly #capacity: number;
  readonly #standIn: (missing: T | undefined, dropped: T) => T | undefined;
  readonly #readers: Waiting<T>[] = [];
  #items: Item<T>[] = [];
  #missing: T | undefined;
  #closed = false;
  #error: Error | undefined;

  /**
   * @param capacity the most items that wait.
   * @param standIn makes the value that stands for dropped items, from the value so far and the
   *   next dropped item; undefined if none is needed.
   */
  constructor(
    capacity: number,
    standIn: (missing: T | undefined, dropped: T) => T | undefined = () => undefined,
  ) {
    this.#capacity = capacity;
    this.#standIn = standIn;
  }

  /** Append an item. With `slot`, an older item of the slot that still waits is dropped. */
  put(value: T, slot?: string): void {
    if (this.#closed) return;
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      reader.resolve({ done: false, value });
      return;
    }
    if (slot !== undefined) {
      const others = this.#items.filter((item) => item.slot !== slot);
      this.conflated += this.#items.length - others.length;
      this.#items = others;
    }
    this.#items.push({ value, slot });
    if (this.#items.length > this.#capacity) {
      this.dropped += 1;
      const oldest = this.#items.shift() as Item<T>;
      this.#missing = this.#standIn(this.#missing, oldest.value);
    }
  }

  /** End the feed. Items that wait are still read; then iteration ends, or throws `error`. */
  close(error?: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error;
    for (const reader of this.#readers.splice(0)) {
      if (error === undefined) reader.resolve({ done: true, value: undefined });
      else reader.reject(error);
    }
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const value = this.#missing ?? this.#items[0]?.value;
    if (value !== undefined) {
      if (this.#missing !== undefined) this.#missing = undefined;
      else this.#items.shift();
      return Promise.resolve({ done: false, value });
    }
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#closed) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return { next: () => this.next() };
  }
}
