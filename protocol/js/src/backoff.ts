/**
 * How long to wait before the next attempt to connect: a random time below a bound that doubles.
 *
 * If many clients lose a server at the same moment, fully random waits spread them best and cost
 * the server least (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
 * The first wait is random as well, because a server that drains sends everyone away within
 * seconds.
 */
export interface Backoff {
  /** The bound of the first wait. */
  readonly firstMs: number;
  readonly factor: number;
  /** The largest bound. */
  readonly maxMs: number;
  /**
   * The bound of the first wait after a connection that the server closed because it drains;
   * `firstMs` if that is shorter, or if none is given. The server spreads those over seconds itself.
   */
  readonly drainedMs?: number;
}

/** The longest wait before attempt number `attempt`, from 0. */
export function boundMs(backoff: Backoff, attempt: number): number {
  return Math.min(backoff.maxMs, backoff.firstMs * backoff.factor ** Math.min(attempt, 64));
}

/** The wait before the first attempt after a drain; `random` returns numbers from 0 to 1. */
export function waitAfterDrainMs(backoff: Backoff, random: () => number): number {
  return random() * Math.min(backoff.drainedMs ?? Infinity, boundMs(backoff, 0));
}

/** The wait before attempt number `attempt`, from 0; `random` returns numbers from 0 to 1. */
export function waitMs(backoff: Backoff, attempt: number, random: () => number): number {
  return random() * boundMs(backoff, attempt);
}
