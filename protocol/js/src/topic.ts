import type { Caller } from "./caller.ts";
import type { Request } from "./envelope.ts";
import { Feed } from "./feed.ts";
import type { Position, Push } from "./messages.ts";
import { recover, restart, take, widen } from "./positions.ts";
import type { Gap, Numbered, Step } from "./positions.ts";

/**
 * What `Room`, `Match` and `Inbox` have in common: the position on the topic, and the feed of its
 * updates. Each durable push is yielded once.
 */
export abstract class Topic<P extends Numbered> {
  /** The position of the last push received; the iterator may be behind it. */
  position: Position;
  /** @internal */
  readonly feed: Feed<P | Gap>;
  protected readonly caller: Caller;
  readonly #remembered: number;
  #seen: readonly P[];

  /**
   * @param position where the topic stood at the join.
   * @param seen the last pushes before the join.
   * @param remembered how many pushes are kept to recognize repeated ones after a break.
   */
  constructor(caller: Caller, position: Position, seen: readonly P[], remembered: number) {
    this.position = position;
    this.caller = caller;
    this.feed = new Feed<P | Gap>(caller.buffer, (missing, dropped) =>
      widen(missing as Gap | undefined, dropped),
    );
    this.#remembered = remembered;
    this.#seen = seen.slice(-remembered);
  }

  /** The topic's name in positions: `room:lobby`. */
  abstract readonly topic: string;

  /** @internal The request that joins again after the topic was lost. */
  abstract joinRequest(): Request;

  /** @internal Take a push of this topic. */
  abstract pushed(push: Push): void;

  /** @internal Take the answer to a join of the topic after it was lost. */
  abstract rejoined(data: unknown): void;

  /** Move to a durable push, and yield the gap before it, if any; false: it was taken before. */
  protected take(offset: number): boolean {
    const step = take(this.position, offset);
    if (step === undefined) return false;
    this.#go(step);
    return true;
  }

  /** Go on from the position of the topic's actor after its restart. */
  protected restart(now: Position): void {
    this.#go(restart(this.position, now));
  }

  /** Take the answer to a resume, and yield what is new in it. */
  protected recover(now: Position, pushes: readonly P[], recovered: boolean): void {
    this.#go(recover(this.position, now, pushes, recovered, this.#seen));
  }

  /** Yield a durable push, and remember it. */
  protected yield(push: P): void {
    if (this.#remembered) this.#seen = [...this.#seen, push].slice(-this.#remembered);
    this.feed.put(push);
  }

  #go({ at, updates }: Step<P>): void {
    this.position = at;
    for (const update of updates) {
      if ("cause" in update) this.feed.put(update);
      else this.yield(update);
    }
  }
}
