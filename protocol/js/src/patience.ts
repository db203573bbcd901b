import type { Caller } from "./caller.ts";
import { sleep } from "./channel.ts";
import { RequestFailed } from "./errors.ts";
import type { Answers, Op, Requests } from "./messages.ts";

/** Send a request, and send it again when the server has said that it came too soon. */
export async function patiently<O extends Op>(
  caller: Caller,
  op: O,
  fields: Requests[O],
): Promise<Answers[O]> {
  for (;;) {
    try {
      return await caller.request(op, fields);
    } catch (error) {
      const failed = error instanceof RequestFailed ? error : undefined;
      if (failed?.code !== "rate_limited" || failed.retryInMs === undefined) throw error;
      await sleep(failed.retryInMs);
    }
  }
}
