import type { Caller } from "./caller.js";
import type { Answers, Op, Requests } from "./messages.js";
/** Send a request, and send it again when the server has said that it came too soon. */
export declare function patiently<O extends Op>(caller: Caller, op: O, fields: Requests[O]): Promise<Answers[O]>;
