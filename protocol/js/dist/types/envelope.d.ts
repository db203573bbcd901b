import type { ErrorCode, Push } from "./messages.js";
/** A request as it is sent: its op, its ref, and its fields. */
export interface Request {
    readonly op: string;
    readonly [field: string]: unknown;
}
/** The request with this `ref` succeeded. */
export interface Ok {
    op: "ok";
    ref: number;
    data?: unknown;
}
/** The requests with this `ref` and these `refs` failed. */
export interface ErrorReply {
    op: "error";
    ref: number | null;
    code: ErrorCode;
    message: string;
    retry?: boolean;
    refs?: number[];
    retry_in_s?: number;
}
export type ServerMessage = Ok | ErrorReply | Push;
