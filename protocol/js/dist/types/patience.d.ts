import type { Caller } from "./caller.js";
import type { Answers, Op, Requests } from "./messages.js";
/** Send a request; send it again for as long as the server only finds it too fast. */
export declare function patiently<O extends Op>(caller: Caller, op: O, fields: Requests[O]): Promise<Answers[O]>;
