/** The client of Greenroom, a real-time game server. `connect` is where to begin. */
export type { AccessToken } from "./access.js";
export type { Backoff } from "./backoff.js";
export type { Keyed, Page } from "./caller.js";
export type { CallOptions } from "./channel.js";
export { connect } from "./connect.js";
export type { ConnectOptions } from "./connect.js";
export { CannotConnect, ClientError, ConnectionLost, Disconnected, RequestFailed, RequestTimedOut, TopicGone, } from "./errors.js";
export type { CloseCode } from "./errors.js";
export type { Inbox } from "./inbox.js";
export type { WebSocketClass, WebSocketLike } from "./link.js";
export type { Match, MatchUpdate } from "./match.js";
export type * from "./messages.js";
export type { Gap } from "./positions.js";
export type { Room, RoomUpdate } from "./room.js";
export type { Session } from "./session.js";
export { DEFAULTS } from "./settings.js";
export type { Connected, Reconnecting, Settings, Status } from "./settings.js";
export type { Storage, WriteOptions } from "./storage.js";
