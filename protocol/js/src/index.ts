/** The client of Greenroom, a real-time game server. `connect` is where to begin. */
export type { AccessToken } from "./access.ts";
export type { Accounts } from "./accounts.ts";
export type { Backoff } from "./backoff.ts";
export type { Keyed, Page } from "./caller.ts";
export type { CallOptions } from "./channel.ts";
export { connect } from "./connect.ts";
export type { ConnectOptions } from "./connect.ts";
export {
  CannotConnect,
  ClientError,
  ConnectionLost,
  Disconnected,
  RequestFailed,
  RequestTimedOut,
  TopicGone,
} from "./errors.ts";
export type { CloseCode } from "./errors.ts";
export type { Friends } from "./friends.ts";
export type { Inbox } from "./inbox.ts";
export type { WebSocketClass, WebSocketLike } from "./link.ts";
export type { Match, MatchUpdate } from "./match.ts";
export type * from "./messages.ts";
export type { Gap } from "./positions.ts";
export type { Room, RoomUpdate } from "./room.ts";
export type { Session } from "./session.ts";
export { DEFAULTS } from "./settings.ts";
export type { Connected, Reconnecting, Settings, Status } from "./settings.ts";
export type { Storage, WriteOptions } from "./storage.ts";
