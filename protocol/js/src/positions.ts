import type { Position } from "./messages.ts";

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

function gap(cause: Gap["cause"], first: number, last: number): Gap {
  return { op: "gap", cause, first, last };
}

/** Take one durable push, over a gap if there is one; undefined: it was taken before. */
export function take(at: Position, offset: number): Step<never> | undefined {
  if (offset <= at.offset) return undefined;
  const hole = offset > at.offset + 1 ? [gap("hole", at.offset + 1, offset - 1)] : [];
  return { at: { epoch: at.epoch, offset }, updates: hole };
}

/** Go on from the position of the topic's actor after its restart. */
export function restart(at: Position, now: Position): Step<never> {
  const updates: Gap[] = [];
  if (now.offset < at.offset) updates.push(gap("void", now.offset + 1, at.offset));
  else if (now.offset > at.offset) updates.push(gap("hole", at.offset + 1, now.offset));
  return { at: now, updates };
}

/**
 * Apply the answer to a resume of the topic.
 *
 * @param at the position before the resume.
 * @param now the position in the answer.
 * @param pushes the pushes in the answer, oldest first.
 * @param recovered whether `pushes` are all that was missed.
 * @param seen the last pushes taken before, to tell a repeated push from a rewritten one.
 */
export function recover<T extends Numbered>(
  at: Position,
  now: Position,
  pushes: readonly T[],
  recovered: boolean,
  seen: readonly T[],
): Step<T> {
  if (recovered) {
    const fresh = pushes.filter((push) => push.offset > at.offset);
    const first = fresh[0]?.offset ?? now.offset + 1;
    const hole = first > at.offset + 1 ? [gap("hole", at.offset + 1, first - 1)] : [];
    return { at: now, updates: [...hole, ...fresh] };
  }
  const first = pushes[0]?.offset ?? now.offset + 1;
  if (first > at.offset + 1) {
    return { at: now, updates: [gap("away", at.offset + 1, first - 1), ...pushes] };
  }
  // The server has everything after our position and still said `recovered: false`, so the
  // position is void. Its pushes up to our offset may be those we took, or new ones.
  const known = new Set(seen.map((push) => JSON.stringify(push)));
  const taken = (push: T): boolean => known.has(JSON.stringify(push));
  const fresh = pushes.filter((push) => !taken(push));
  if (at.offset === 0 || pushes.some((push) => push.offset === at.offset && taken(push))) {
    // We took nothing yet; or the push at our offset is the one we took, so no push before it
    // was rewritten, and none is missing.
    return { at: now, updates: fresh };
  }
  const rewritten = fresh.map((push) => push.offset).filter((offset) => offset <= at.offset);
  const lowest = Math.min(...rewritten, now.offset + 1, at.offset);
  return { at: now, updates: [gap("void", lowest, at.offset), ...fresh] };
}

const DURABLE = new Set(["room.message", "match.event", "match.ended", "inbox.entry"]);

/**
 * The gap for everything dropped so far and `dropped`; undefined: none of it was durable. A gap
 * that is dropped is merged into it whatever its cause was, as the reader missed it too.
 */
export function widen(missing: Gap | undefined, dropped: Gap | Numbered): Gap | undefined {
  let first: number;
  let last: number;
  if ("cause" in dropped) ({ first, last } = dropped);
  else if (DURABLE.has(dropped.op)) first = last = dropped.offset;
  else return missing;
  if (missing === undefined) return gap("behind", first, last);
  return gap("behind", Math.min(missing.first, first), Math.max(missing.last, last));
}
