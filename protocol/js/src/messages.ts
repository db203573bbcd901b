// Made by `python -m protocol.tables` from the table of ops. Do not edit.

/**
 * One's own account. `username` is null until one is chosen. `name` is the display name. Metadata
 * are objects of JSON as text; others see the public ones. `roles` are those of staff. Times are
 * in milliseconds since 1970, UTC.
 */
export interface Account {
  /** the id of the user, which never changes */
  user: string;
  /** null: none chosen yet */
  username: string | null;
  /** the display name */
  name: string;
  /** the address of a picture, by https; empty: none */
  avatar_url: string;
  /** a tag of BCP 47; empty: not known */
  language: string;
  /** a zone of the IANA database; empty: not known */
  time_zone: string;
  /** an object of JSON as text, which everyone may read */
  public_metadata: string;
  /** an object of JSON as text, for the user alone */
  private_metadata: string;
  /** the roles of staff */
  roles: string[];
  /** one more with each change */
  version: number;
  /** when it was made, in milliseconds since 1970, UTC */
  created: number;
  /** when the user last signed in */
  seen: number;
}

/**
 * Ban a user until a time, in milliseconds since 1970, UTC; null: for ever. The user is told the
 * reason. Answered with `AccountStanding`.
 */
export interface AccountBan {
  /** the id of the user */
  user: string;
  /** why, as the user is told */
  reason: string;
  /** when it ends, in milliseconds since 1970, UTC; null: never */
  until?: number | null;
}

/** Close one's own account. Nobody signs in to it until staff opens it again. */
export type AccountClose = Record<string, never>;

/**
 * End a sign-in of one's own account. It is no error if there is none. Answered with
 * `SignInsEnded`.
 */
export interface AccountEndSession {
  /** its id */
  sign_in: string;
}

/**
 * End all sign-ins of one's own account; `others`: all but that of whoever asks. Answered with
 * `SignInsEnded`.
 */
export interface AccountEndSessions {
  /** all but one's own */
  others?: boolean;
}

/** Read one's own account. Answered with `Account`. */
export type AccountGet = Record<string, never>;

/** Give a user a role. Answered with `AccountStanding`. */
export interface AccountGrant {
  /** the id of the user */
  user: string;
  /** as `moderator` */
  role: string;
}

/** List the ways into the account. Answered with `AccountIdentityList`. */
export type AccountIdentities = Record<string, never>;

/** A way into an account. `linked` is in milliseconds since 1970, UTC. */
export interface AccountIdentity {
  /** as in `account.link`, or `guest` */
  provider: string;
  /** names it in `account.unlink`; it does not tell the proof */
  id: string;
  /** when it was added, in milliseconds since 1970, UTC */
  linked: number;
}

/** The ways into an account, the oldest first. */
export interface AccountIdentityList {
  /** the oldest first */
  identities: AccountIdentity[];
}

/**
 * Add a way into the account of the user who asks. Answered with `AccountIdentity`. A guest
 * becomes an account by it, and keeps the user id with all that belongs to it.
 */
export interface AccountLink {
  /**
   * `device`; `custom`, for a back end that asks with a key; or one of the server's configuration
   */
  provider: string;
  /**
   * of `device`: the secret id of the device, 16 to 128 characters; of `custom`: the id that the
   * back end vouches for, at most 128; else what the provider gave: an ID token, a code or a
   * ticket
   */
  proof: string;
  /** whether the proof is a code of OpenID Connect, and not an ID token */
  code?: boolean;
  /** for OpenID Connect: as [the begin of a sign-in](HTTP.md#sign-in-by-a-provider) gave it */
  state?: string;
  /** likewise */
  secret?: string;
}

/** Read what others may see of accounts, by the ids of their users. Answered with `Profiles`. */
export interface AccountRead {
  /** ids of users */
  users: string[];
}

/** Open an account that its user has closed. Answered with `AccountStanding`. */
export interface AccountReopen {
  /** the id of the user */
  user: string;
}

/** Take a role from a user, whose sign-ins end. Answered with `AccountStanding`. */
export interface AccountRevoke {
  /** the id of the user */
  user: string;
  /** as `moderator` */
  role: string;
}

/**
 * Find accounts whose usernames begin so, in whatever case, by username. Answered with
 * `ProfilesFound`.
 */
export interface AccountSearch {
  /** how they begin */
  prefix: string;
  /** how many at most */
  limit?: number;
  /** of the answer before; null: from the first */
  cursor?: string | null;
}

/** List the sign-ins of one's own account, the last used first. Answered with `SignIns`. */
export type AccountSessions = Record<string, never>;

/**
 * Whether a user may be here, and the roles of staff that they have. `until` is the end of the
 * ban, in milliseconds since 1970, UTC; null: there is none, or no end.
 */
export interface AccountStanding {
  /** the id of the user */
  user: string;
  /** `closed` also while a ban lasts */
  state: "active" | "banned" | "closed";
  /** when the ban ends, in milliseconds since 1970, UTC; null: not banned, or for ever */
  until?: number | null;
  /** why, as the user is told; empty: not banned */
  reason?: string;
  /** the roles of staff */
  roles?: string[];
}

/** Look at the standing of an account. Answered with `AccountStanding`. */
export interface AccountStandingGet {
  /** the id of the user */
  user: string;
}

/** Lift a ban. Answered with `AccountStanding`. */
export interface AccountUnban {
  /** the id of the user */
  user: string;
}

/** Take a way into the account away. The last one stays. */
export interface AccountUnlink {
  /** of the way */
  provider: string;
  /** of the way, as `account.identities` lists it */
  id: string;
}

/**
 * Change one's own account, all of the fields that are given or none. Answered with `Account`. A
 * field that is null, or not there, stays. `avatar_url`, `language` and `time_zone` may be empty.
 * `version`: change it only if this is its version; null: in any case.
 */
export interface AccountUpdate {
  /** the version that the change is made to; null: any */
  version?: number | null;
  /** letters and digits, with `_`, `-` or `.` between them */
  username?: string | null;
  /** the display name */
  name?: string | null;
  /** an address that begins with `https://`, without a password; empty: none */
  avatar_url?: string | null;
  /** a tag of BCP 47, which is kept in its usual spelling; empty: not known */
  language?: string | null;
  /** a name of the IANA database, as `Europe/Berlin`; empty: not known */
  time_zone?: string | null;
  /** an object of JSON as text */
  public_metadata?: string | null;
  /** an object of JSON as text */
  private_metadata?: string | null;
  /** [makes it idempotent](#idempotency) */
  key?: string | null;
}

/**
 * List entries of the audit log, the newest first. Answered with `AuditListed`. A filter that is
 * null, or not there, lets every entry pass. `who` is a user, or a key as "key-<id>"; `what` is a
 * name, or the beginning of one with a `*` behind it; `refused`: only what was refused, or only
 * what was done; `since` and `until` are times of entries.
 */
export interface AuditList {
  /** only what this user or key did, also on behalf of others; null: whoever */
  who?: string | null;
  /** only what was done to this user or thing; null: whomever */
  on_whom?: string | null;
  /** only what has this name, or, with a `*` at the end, this beginning; null: whatever */
  what?: string | null;
  /** only what was refused, or only what was done; null: both */
  refused?: boolean | null;
  /** not what is older, in milliseconds since 1970, UTC */
  since?: number | null;
  /** only what is older */
  until?: number | null;
  /** how many at most */
  limit?: number;
  /** of the answer before; null: from the newest */
  cursor?: string | null;
}

/** An entry. `at` is in milliseconds since 1970, UTC. */
export interface AuditListEntry {
  /** when, in milliseconds since 1970, UTC */
  at: number;
  /**
   * the user who did it, or an API key as `key-<id>`; empty: nobody is known, or the command line
   */
  who: string;
  /** the user on whose behalf a key asked; empty: for itself */
  as_whom: string;
  /** the network address it came from; empty: not known, or erased */
  address: string;
  /** an op, a route as `DELETE /v1/keys/{id}`, or a name as `account.banned` */
  what: string;
  /** the user or the thing it was done to; empty: nobody else */
  on_whom: string;
  /** the code of the refusal; empty: it was done */
  outcome: string;
  /** more, by the kind of entry */
  details: Record<string, unknown>;
}

/** A page of the audit log. `cursor` is for the next page; null: this is the last one. */
export interface AuditListed {
  /** the newest first */
  entries: AuditListEntry[];
  /** where the list goes on; null: this is its end */
  cursor?: string | null;
}

/** Block a user, which ends a friendship and requests between the two. */
export interface BlockAdd {
  /** the other one */
  user: string;
  /** idempotency key */
  key?: string | null;
}

/** List the users that the user has blocked, by their id. Answered with `BlocksListed`. */
export interface BlockList {
  /** how many at most */
  limit?: number;
  /** of the page before; null: begin */
  cursor?: string | null;
}

/** Block a user no longer. It is no error if the user is not blocked. */
export interface BlockRemove {
  /** the other one */
  user: string;
  /** idempotency key */
  key?: string | null;
}

/** A blocked user, since when, in milliseconds since 1970, UTC. */
export interface Blocked {
  /** the one who is blocked */
  user: string;
  /** since when, in milliseconds since 1970, UTC */
  since: number;
}

/** A page of blocked users. `cursor` is for the next page; null: this is the last one. */
export interface BlocksListed {
  /** by id */
  blocked: Blocked[];
  /** where the list goes on; null: this is its end */
  cursor?: string | null;
}

/** An entry of an inbox. `at` is in milliseconds since 1970, UTC. */
export interface Entry {
  /** its place in the inbox */
  offset: number;
  /** what it is, by the service that put it there: `friend.tie` */
  type: string;
  /** what that service says of it; null where it had something that cannot be told */
  payload: unknown;
  /** milliseconds since 1970, UTC */
  at: number;
}

/** With whom the user has played, the latest first. */
export interface FellowsFound {
  /** the latest first */
  users: PlayedTogether[];
}

/** A friend, or a request. `online`: a friend has a connection now; never true of a request. */
export interface Friend {
  /** the other one */
  user: string;
  /** how the user stands to the other */
  state: "asked" | "friend" | "requested";
  /** since when, in milliseconds since 1970, UTC */
  since: number;
  /** a friend who has a connection; false for requests */
  online: boolean;
}

/** Accept the request of a user. Answered with `FriendTie`, once durable. */
export interface FriendAccept {
  /** the other one */
  user: string;
  /** idempotency key */
  key?: string | null;
}

/** Decline the request of a user. It is no error if there is none. */
export interface FriendDecline {
  /** the other one */
  user: string;
  /** idempotency key */
  key?: string | null;
}

/**
 * List the user's friends and requests, by the id of the other. Answered with `FriendsListed`.
 * `state`: only those; null: all.
 */
export interface FriendList {
  /** only those; null: all */
  state?: "asked" | "friend" | "requested" | null;
  /** how many at most */
  limit?: number;
  /** of the page before; null: begin */
  cursor?: string | null;
}

/** Ask for friends shared with another user. Answered with `MutualFriendsFound`. */
export interface FriendMutual {
  /** the other one */
  user: string;
  /** how many at most */
  limit?: number;
}

/** Ask with whom the user has played lately. Answered with `FellowsFound`. */
export interface FriendPlayed {
  /** how many at most */
  limit?: number;
}

/** End a friendship, or take a request back. It is no error if there is neither. */
export interface FriendRemove {
  /** the other one */
  user: string;
  /** idempotency key */
  key?: string | null;
}

/**
 * Ask a user to be a friend. If that user has asked already, they are friends from now on.
 * Answered with `FriendTie`, once durable.
 */
export interface FriendRequest {
  /** the other one */
  user: string;
  /** idempotency key */
  key?: string | null;
}

/** Ask whom the user might know. Answered with `FriendsSuggested`. */
export interface FriendSuggest {
  /** how many at most */
  limit?: number;
}

/** How the user stands to another one, since when, in milliseconds since 1970, UTC. */
export interface FriendTie {
  /** the other one */
  user: string;
  /** how the user stands to the other */
  state: "asked" | "friend" | "requested";
  /** since when, in milliseconds since 1970, UTC */
  since: number;
}

/** A page of friends and requests. `cursor` is for the next page; null: this is the last one. */
export interface FriendsListed {
  /** by the id of the other */
  friends: Friend[];
  /** where the list goes on; null: this is its end */
  cursor?: string | null;
}

/** Who shares more friends comes first, then who was played with later. */
export interface FriendsSuggested {
  /** the best first */
  users: Suggestion[];
}

/** Messages, the oldest first. `more` says whether there are older ones. */
export interface History {
  /** oldest first */
  messages: Message[];
  /** there are older ones */
  more: boolean;
}

/** An entry was put into the inbox, and is durable. Its offset is now the topic's. */
export interface InboxEntry {
  op: "inbox.entry";
  /** whose it is */
  user: string;
  /** one more than the last */
  offset: number;
  /** as in `Entry` */
  type: string;
  /** as in `Entry` */
  payload: unknown;
  /** milliseconds since 1970, UTC */
  at: number;
}

/**
 * Ask for the `limit` entries before offset `before` (0: the newest). Answered with `InboxPage`.
 */
export interface InboxHistory {
  /** entries before this offset; 0: the newest */
  before?: number;
  /** how many at most */
  limit?: number;
}

/** Join the inbox of the session's own user. Answered with `InboxState`. */
export type InboxJoin = Record<string, never>;

/** Leave the inbox with this session. It is no error if the session has not joined it. */
export type InboxLeave = Record<string, never>;

/** The offset up to which the user has read, and the state of the inbox. */
export interface InboxMark {
  /** with `offset`: where the inbox stands */
  epoch: number;
  /** of the last entry */
  offset: number;
  /** up to this offset all is read */
  read: number;
  /** so many entries came after it */
  unread: number;
}

/**
 * The user has read up to `read`, on this device or another. This push is volatile; its `offset`
 * is that of the durable push before it.
 */
export interface InboxMarked {
  op: "inbox.marked";
  /** whose it is */
  user: string;
  /** the offset it came after */
  offset: number;
  /** up to this offset all is read */
  read: number;
  /** so many entries came after it */
  unread: number;
}

/** Entries, the oldest first, and the state of the inbox. `more` says if there are older ones. */
export interface InboxPage {
  /** with `offset`: where the inbox stands */
  epoch: number;
  /** of the last entry, in this page or not */
  offset: number;
  /** up to this offset all is read */
  read: number;
  /** so many entries came after it */
  unread: number;
  /** oldest first */
  entries: Entry[];
  /** there are older ones */
  more: boolean;
}

/**
 * Mark every entry up to this offset as read. The mark never moves back. Answered with
 * `InboxMark`, once it is durable.
 */
export interface InboxRead {
  /** up to this one */
  offset: number;
}

/**
 * The state of the inbox after a resume. If `recovered` is true, `entries` has exactly the entries
 * that were missed, in order. If it is false, too many were missed, and `entries` has the last
 * ones, from which the client starts afresh.
 */
export interface InboxRecovered {
  op: "inbox.recovered";
  /** whose it is */
  user: string;
  /** nothing is missing */
  recovered: boolean;
  /** with `offset`: the position from here on */
  epoch: number;
  /** with `epoch`: that position */
  offset: number;
  /** up to this offset all is read */
  read: number;
  /** so many entries came after it */
  unread: number;
  /** what was missed, or the last ones */
  entries: Entry[];
}

/** The state of an inbox: its position, what is read, and the last entries. */
export interface InboxState {
  /** whose it is: `user:` and this is the topic */
  user: string;
  /** with `offset`: the position to start from */
  epoch: number;
  /** of the last entry; 0: there was none yet */
  offset: number;
  /** up to this offset all is read */
  read: number;
  /** so many entries came after it */
  unread: number;
  /** the last ones, oldest first */
  entries: Entry[];
}

/**
 * The input was taken, and acts at `tick`. `durable` true: no crash can take it back. False: it is
 * in the running state, which a crash may set back to the last snapshot.
 */
export interface InputTaken {
  /** where the input acts */
  tick: number;
  /** true: it is part of the match for good. False: a crash may set the match back by a snapshot */
  durable: boolean;
}

/** Create a match of `game`. The game defines its `params`. Answered with `MatchCreated`. */
export interface MatchCreate {
  /** the name of a game of this server */
  game: string;
  /** the game's own */
  params?: Record<string, unknown>;
  /** idempotency key */
  key?: string | null;
}

/** The match was created, and can be joined. */
export interface MatchCreated {
  /** what `match.join` takes */
  match: string;
}

/** The match is over. `result` is the game's. `failed` says that the match could not go on. */
export interface MatchEnded {
  op: "match.ended";
  /** which match */
  match: string;
  /** one more than the last */
  offset: number;
  /** the game's own */
  result: unknown;
  /** the match could not go on */
  failed?: boolean;
}

/**
 * Something happened in the match. `kind` is `joined` or `left`, with the `player`, or a word of
 * the game's own, with `data` of its own.
 */
export interface MatchEvent {
  op: "match.event";
  /** which match */
  match: string;
  /** one more than the last */
  offset: number;
  /** `joined` (`data` has `name`), `left`, or the game's own */
  kind: string;
  /** whom it is about */
  player?: string | null;
  /** the game's own */
  data?: unknown;
}

/**
 * A player's input. Answered with `InputTaken`. `seq` is the client's number of the input, which
 * only grows. The same input with the same seq gets the same answer as the first time and does not
 * act again.
 */
export interface MatchInput {
  /** which match */
  match: string;
  /** the client's stamp; only grows, from above its own in `acks` */
  seq: number;
  /** the game's own */
  input: unknown;
}

/** Take a place in a match, or come back to the user's place. Answered with `MatchState`. */
export interface MatchJoin {
  /** which match */
  match: string;
}

/** Give up the user's place, with all sessions. It is no error if the user has none. */
export interface MatchLeave {
  /** which match */
  match: string;
}

/** List running matches, of one game or of all, the newest first. Answered with `Matches`. */
export interface MatchList {
  /** only of this game */
  game?: string | null;
  /** how many at most */
  limit?: number;
}

/**
 * The state of the match after a resume, as this player sees it. If `recovered` is true, `events`
 * has every event that was missed. If it is false, some of them are not known any more; the state
 * is true in both cases.
 */
export interface MatchRecovered {
  op: "match.recovered";
  /** which match */
  match: string;
  /** no event is missing */
  recovered: boolean;
  /** with `offset`: the position from here on */
  epoch: number;
  /** with `epoch`: that position */
  offset: number;
  /** as in `MatchState` */
  tick: number;
  /** ids of the users who have a place */
  players: string[];
  /** as it is now */
  state: unknown;
  /** what was missed, in order */
  events: MatchEvent[];
  /** as in `MatchState` */
  names?: Record<string, string>;
  /** as in `MatchState` */
  acks?: Record<string, number>;
}

/** The match crashed and goes on from its last snapshot. Its players keep their places. */
export interface MatchRestarted {
  op: "match.restarted";
  /** which match */
  match: string;
  /** with `offset`: the position from here on */
  epoch: number;
  /** may be lower than what was pushed */
  offset: number;
  /** the match's clock; `state` may be an earlier one */
  tick: number;
  /** of the last snapshot, with the events since */
  state: unknown;
}

/** The state of a match, as this player sees it. */
export interface MatchState {
  /** which match */
  match: string;
  /** the name of its game */
  game: string;
  /** with `offset`: the position to start from */
  epoch: number;
  /** of the last event */
  offset: number;
  /** ticks run; in a game in turns, inputs taken */
  tick: number;
  /** ticks a second; 0: a game in turns */
  tick_hz: number;
  /** ids of the users who have a place */
  players: string[];
  /** the game's own, as this player may see it */
  state: unknown;
  /** player -> the name to show; empty: the player was erased */
  names?: Record<string, string>;
  /** player -> the highest input `seq` used */
  acks?: Record<string, number>;
}

/**
 * The state after `tick`. It is volatile and conflated: a slow client gets the newest state only.
 * `acks` has the highest `seq` of each player that was answered. The state contains what was
 * taken.
 */
export interface MatchStatePush {
  op: "match.state";
  /** which match */
  match: string;
  /** the offset it came after */
  offset: number;
  /** the tick that `state` is of */
  tick: number;
  /** after this `tick`, but for what a crash took back */
  state: unknown;
  /** player -> the highest input `seq` answered; `state` holds what was taken of them */
  acks: Record<string, number>;
}

/** A line of the list of matches. `created` is in milliseconds since 1970, UTC. */
export interface MatchSummary {
  /** what `match.join` takes */
  match: string;
  /** the name of its game */
  game: string;
  /**
   * who have a place; in matches of another node, who had one a second ago
   * (`matches.list_refresh_s`)
   */
  players: number;
  /** so many may have a place */
  max_players: number;
  /** milliseconds since 1970, UTC */
  created: number;
}

/** Running matches, the newest first. */
export interface Matches {
  /** newest first */
  matches: MatchSummary[];
}

/** A user in a room. A user with several sessions there is one member. */
export interface Member {
  /** the id of the user */
  user: string;
  /** the name to show */
  name: string;
}

/** The first of `members_total` members, in the order in which they joined. */
export interface Members {
  /** in the order they came; the first of */
  members: Member[];
  /** so many users */
  members_total: number;
}

/**
 * A chat message. `offset` is its place in the room; `at` is in milliseconds since 1970, UTC.
 * `user`, `name` and `body` are empty if the message was erased, or if the reader has blocked its
 * user.
 */
export interface Message {
  /** its place in the room */
  offset: number;
  /** who said it; empty: the message was erased */
  user: string;
  /** the sender's name then */
  name: string;
  /** the text */
  body: string;
  /** milliseconds since 1970, UTC */
  at: number;
}

/** The first of `total` shared friends, by id. */
export interface MutualFriendsFound {
  /** by id */
  friends: string[];
  /** how many there are */
  total: number;
}

/**
 * An object of the user's own to delete. `version`: delete it only if this is the present version;
 * null: in any case.
 */
export interface ObjectToDelete {
  /** which collection */
  collection: string;
  /** its name in the collection */
  key: string;
  /** delete only if this one is there; null: in any case */
  version?: number | null;
}

/** An object to read. `user` is its owner; null: the reader; "": the server. */
export interface ObjectToRead {
  /** which collection */
  collection: string;
  /** its name in the collection */
  key: string;
  /** whose it is; null: one's own; empty: the server's */
  user?: string | null;
}

/**
 * An object to write. `version`: write it only if this is the present version; null: in any case.
 */
export interface ObjectToWrite {
  /** which collection */
  collection: string;
  /** its name in the collection */
  key: string;
  /** JSON; the server's own limit is lower, see Limits */
  value: string;
  /** write only if this one is there; 0: only if there is none; null: in any case */
  version?: number | null;
  /** who may read it */
  read?: "nobody" | "owner" | "public";
  /** who may write it, beside the server */
  write?: "nobody" | "owner";
}

/** A page of a list. `cursor` is for the next page; null: this is the last one. */
export interface ObjectsListed {
  /** what was found, by key, then by user */
  objects: StoredObject[];
  /** where the list goes on; null: this is its end */
  cursor?: string | null;
}

/**
 * The objects that exist and that the user may read, in the order of the request. `unread` says
 * how many objects, at the end of the request, are left out because the answer is full.
 */
export interface ObjectsRead {
  /** those that there are and that may be read, in the order of the request */
  objects: StoredObject[];
  /**
   * so many at the end of the request were not looked for, as the answer is full: ask for them
   * again
   */
  unread?: number;
}

/** The new versions of the objects, in the order of the request. */
export interface ObjectsWritten {
  /** of the objects, in the order of the request */
  versions: number[];
  /** milliseconds since 1970, UTC */
  updated: number;
}

/** Measure the round trip. Answered with `Pong`. (WebSocket's own ping keeps connections alive.) */
export type Ping = Record<string, never>;

/** A user, and when the two came together in a match, in milliseconds since 1970, UTC. */
export interface PlayedTogether {
  /** who it is */
  user: string;
  /** when the two last came together, in milliseconds since 1970, UTC */
  at: number;
}

/** The server's wall clock in milliseconds since 1970, UTC. */
export interface Pong {
  /** the server's clock, milliseconds since 1970, UTC */
  time: number;
}

/**
 * A client's position in a topic. `offset` counts the topic's durable pushes from 1; any other
 * push has the offset of the durable one before it. `epoch` is the incarnation that gave the
 * offset. Together they tell a true position from one that a crash made void.
 */
export interface Position {
  /** the incarnation that gave the offset */
  epoch: number;
  /** the last durable push taken; 0: none */
  offset: number;
}

/** What others may see of an account. */
export interface Profile {
  /** the id of the user */
  user: string;
  /** null: none chosen yet */
  username: string | null;
  /** the display name */
  name: string;
  /** the address of a picture; empty: none */
  avatar_url: string;
  /** the public metadata, an object of JSON as text */
  metadata: string;
  /** when the account was made, in milliseconds since 1970, UTC */
  created: number;
}

/** The accounts that there are, in the order of the request. */
export interface Profiles {
  /** in the order of the request */
  profiles: Profile[];
}

/** A page of accounts. `cursor` is for the next page; null: this is the last one. */
export interface ProfilesFound {
  /** in the order of their usernames */
  profiles: Profile[];
  /** where the list goes on; null: this is its end */
  cursor?: string | null;
}

/** Ask for the `limit` messages before offset `before` (0: the newest). Answered with `History`. */
export interface RoomHistory {
  /** which room */
  room: string;
  /** messages before this offset; 0: the newest */
  before?: number;
  /** how many at most */
  limit?: number;
}

/** Join a room. The first member creates it. Answered with `RoomState`. */
export interface RoomJoin {
  /** its name */
  room: string;
}

/** A user joined. This push is volatile; its `offset` is that of the durable push before it. */
export interface RoomJoined {
  op: "room.joined";
  /** which room */
  room: string;
  /** the offset it came after */
  offset: number;
  /** who came */
  member: Member;
}

/** Leave a room. It is no error if the session has not joined it. */
export interface RoomLeave {
  /** which room */
  room: string;
}

/** A user left. This push is volatile; its `offset` is that of the durable push before it. */
export interface RoomLeft {
  op: "room.left";
  /** which room */
  room: string;
  /** the offset it came after */
  offset: number;
  /** who left */
  member: Member;
}

/** Ask who is in a joined room. Answered with `Members`. */
export interface RoomMembers {
  /** which room */
  room: string;
}

/**
 * A message was sent to the room. Its offset is now the topic's. `user`, `name` and `body` are
 * empty if the reader has blocked its user.
 */
export interface RoomMessage {
  op: "room.message";
  /** which room */
  room: string;
  /** one more than the last */
  offset: number;
  /** who said it; as in `Message`, empty if that was erased */
  user: string;
  /** the name to show */
  name: string;
  /** the text */
  body: string;
  /** milliseconds since 1970, UTC */
  at: number;
}

/**
 * In a big room: who has joined and left since the last such push. It comes in place of
 * `room.joined` and `room.left`. Take out those who left first, then add those who joined: a
 * client may know of some already, and may be one of them. If `named` is false, too many have come
 * and gone, or the room is too big, and nobody is named. `members_total` is always right. This
 * push is volatile; its `offset` is that of the durable push before it.
 */
export interface RoomPresence {
  op: "room.presence";
  /** which room */
  room: string;
  /** the offset it came after */
  offset: number;
  /** whether the lists have all who came and went */
  named: boolean;
  /** who came */
  joined: Member[];
  /** who left */
  left: Member[];
  /** so many users are there now */
  members_total: number;
}

/**
 * The state of the room after a resume. If `recovered` is true, `messages` has exactly the
 * messages that were missed, in order. If it is false, the position was too old or void, and
 * `messages` has the last ones, from which the client starts afresh.
 */
export interface RoomRecovered {
  op: "room.recovered";
  /** which room */
  room: string;
  /** nothing is missing */
  recovered: boolean;
  /** with `offset`: the position from here on */
  epoch: number;
  /** with `epoch`: that position */
  offset: number;
  /** as in `RoomState` */
  members: Member[];
  /** as in `RoomState` */
  members_total: number;
  /** what was missed, or the last ones */
  messages: Message[];
}

/**
 * The room crashed and has restarted. Its members are still joined, and this is the new position.
 * `offset` may be lower than that of earlier pushes. Messages that were pushed and not yet durable
 * are gone; their senders have got no `ok`.
 */
export interface RoomRestarted {
  op: "room.restarted";
  /** which room */
  room: string;
  /** with `offset`: the position from here on */
  epoch: number;
  /** may be lower than what was pushed */
  offset: number;
}

/** Send a message to a joined room. Answered with `Sent`, once the message is durable. */
export interface RoomSend {
  /** which room */
  room: string;
  /** the text; the server's own limit is lower, see Limits */
  body: string;
  /** idempotency key */
  key?: string | null;
}

/** The state of a room: its position, its first members, how many there are, the last messages. */
export interface RoomState {
  /** which room */
  room: string;
  /** with `offset`: the position to start from */
  epoch: number;
  /** of the last message */
  offset: number;
  /** who is here, in the order they came; the first of */
  members: Member[];
  /** so many users */
  members_total: number;
  /** the last ones, oldest first */
  messages: Message[];
}

/** The message is durable at this offset. */
export interface Sent {
  /** its place in the room */
  offset: number;
  /** milliseconds since 1970, UTC */
  at: number;
}

/**
 * End the session. It leaves every room, and then the server closes the connection. The user's
 * places in matches are kept for a while, as after any end of a session. A client that wants to
 * give a place up sends `match.leave` first.
 */
export type SessionClose = Record<string, never>;

/**
 * The access token has run out. Without a new one (`session.renew`) the connection is closed.
 * `grace_s` says in how many seconds.
 */
export interface SessionExpiring {
  op: "session.expiring";
  /** in how many seconds the connection is closed */
  grace_s: number;
}

/**
 * Open a session as a guest called `name`, or with an access token as the token's user. Answered
 * with `SessionOpened`.
 */
export interface SessionOpen {
  /** the name to show to others; need not be unique */
  name: string;
  /**
   * an access token: the session is of its user, and `name` counts only if the account has none;
   * null: a guest
   */
  token?: string | null;
}

/** The session: who the client is, the token to resume with, and limits that it should know. */
export interface SessionOpened {
  /** the id of the session */
  session: string;
  /** the id of the user, which others see and `match` pushes name */
  user: string;
  /** the name that others see */
  name: string;
  /** to resume with; each answer brings a new one, keep the newest */
  token: string;
  /** true: the session lived on. False: it is a new one (after a resume: of the same user) */
  resumed: boolean;
  /** how long the session outlives its connection, in seconds */
  resume_within_s: number;
  /** the server pings this often, in seconds; 0: never */
  keepalive_s: number;
  /** the longest message the server takes */
  max_message_bytes: number;
  /**
   * when the access token runs out, in milliseconds since 1970, UTC; a guest's answer has no such
   * field
   */
  expires?: number | null;
}

/** Go on with a new access token of the session's user. Answered with `SessionRenewed`. */
export interface SessionRenew {
  /** a new access token of the session's user */
  access: string;
}

/** The session goes on until `expires`, in milliseconds since 1970, UTC. */
export interface SessionRenewed {
  /** to resume with from now on */
  token: string;
  /** when the new access token runs out, in milliseconds since 1970, UTC */
  expires: number;
}

/**
 * Go on with a session, by its token, from `positions` (topic -> position). Answered with
 * `SessionOpened`. After that comes one `room.recovered`, `match.recovered`, `inbox.recovered` or
 * `topic.lost` for each topic that was named. If the session has expired, a new one of the same
 * user is opened.
 */
export interface SessionResume {
  /** of an earlier `SessionOpened` */
  token: string;
  /** topic -> where the client stands on it */
  positions?: Record<string, Position>;
  /** a new access token of the same user, needed if the last one has run out; null: none */
  access?: string | null;
}

/**
 * A sign-in: a device on which the user is signed in. `label` is what the device calls itself.
 * Times are in milliseconds since 1970, UTC. `current`: it is the one that asks.
 */
export interface SignInEntry {
  /** its id */
  sign_in: string;
  /** what the device calls itself */
  label: string;
  /** when the device signed in, in milliseconds since 1970, UTC */
  created: number;
  /** when it last got new tokens */
  used: number;
  /** when it ends if it is not used until then */
  expires: number;
  /** whether the session that asks hangs on it */
  current: boolean;
}

/** The sign-ins of an account, the last used first. */
export interface SignIns {
  /** the last used first */
  sessions: SignInEntry[];
}

/** How many sign-ins have ended. */
export interface SignInsEnded {
  /** how many have ended */
  ended: number;
}

/** Delete objects of the user's own, all or none. It is no error if an object does not exist. */
export interface StorageDelete {
  /** which ones, each once */
  objects: ObjectToDelete[];
  /** idempotency key */
  key?: string | null;
}

/**
 * List the objects of a collection that the user may read, by key. Answered with `ObjectsListed`.
 * `user` is the owner; null: the user who asks. `everyone`: the public objects of all users
 * instead.
 */
export interface StorageList {
  /** which collection */
  collection: string;
  /** whose; null: one's own; not with `everyone` */
  user?: string | null;
  /** the public ones of all users */
  everyone?: boolean;
  /** how many at most */
  limit?: number;
  /** of the answer before, to the same question but for `limit`; null: from the start */
  cursor?: string | null;
}

/** Read objects, all as of the same moment. Answered with `ObjectsRead`. */
export interface StorageRead {
  /** which ones */
  objects: ObjectToRead[];
}

/** Write objects of the user's own, all or none. Answered with `ObjectsWritten`, once durable. */
export interface StorageWrite {
  /** what to write, each object once */
  objects: ObjectToWrite[];
  /** idempotency key */
  key?: string | null;
}

/** An object. `created` and `updated` are in milliseconds since 1970, UTC. */
export interface StoredObject {
  /** which collection */
  collection: string;
  /** its name in the collection */
  key: string;
  /** whose it is; empty: the server's */
  user: string;
  /** JSON, as it was written */
  value: string;
  /** its version, which every write changes */
  version: number;
  /** who may read it */
  read: "nobody" | "owner" | "public";
  /** who may write it, beside the server */
  write: "nobody" | "owner";
  /** milliseconds since 1970, UTC */
  created: number;
  /** the same, of the last write */
  updated: number;
}

/**
 * A user whom the user might know. `mutual`: how many friends they share. `played`: when they last
 * came together in a match, in milliseconds since 1970, UTC; null: not lately.
 */
export interface Suggestion {
  /** who it is */
  user: string;
  /** how many friends the two share */
  mutual: number;
  /**
   * when the two last came together in a match, in milliseconds since 1970, UTC; null: not lately
   */
  played?: number | null;
}

/**
 * The session is not in this topic any more. `code` says why; it is a code of the table of errors.
 */
export interface TopicLost {
  op: "topic.lost";
  /** `room:` or `match:` and the name, or `user:` and the id */
  topic: string;
  /** of the table of errors */
  code: string;
}

/** The fields of each request, by op. */
export interface Requests {
  "session.open": SessionOpen;
  "session.resume": SessionResume;
  "session.renew": SessionRenew;
  "session.close": SessionClose;
  "ping": Ping;
  "account.link": AccountLink;
  "account.unlink": AccountUnlink;
  "account.identities": AccountIdentities;
  "account.get": AccountGet;
  "account.read": AccountRead;
  "account.update": AccountUpdate;
  "account.search": AccountSearch;
  "account.ban": AccountBan;
  "account.unban": AccountUnban;
  "account.close": AccountClose;
  "account.reopen": AccountReopen;
  "account.standing": AccountStandingGet;
  "account.grant": AccountGrant;
  "account.revoke": AccountRevoke;
  "account.sessions": AccountSessions;
  "account.end_session": AccountEndSession;
  "account.end_sessions": AccountEndSessions;
  "room.join": RoomJoin;
  "room.leave": RoomLeave;
  "room.send": RoomSend;
  "room.history": RoomHistory;
  "room.members": RoomMembers;
  "match.create": MatchCreate;
  "match.list": MatchList;
  "match.join": MatchJoin;
  "match.leave": MatchLeave;
  "match.input": MatchInput;
  "inbox.join": InboxJoin;
  "inbox.leave": InboxLeave;
  "inbox.history": InboxHistory;
  "inbox.read": InboxRead;
  "friend.request": FriendRequest;
  "friend.accept": FriendAccept;
  "friend.decline": FriendDecline;
  "friend.remove": FriendRemove;
  "friend.list": FriendList;
  "friend.mutual": FriendMutual;
  "friend.suggest": FriendSuggest;
  "friend.played": FriendPlayed;
  "block.add": BlockAdd;
  "block.remove": BlockRemove;
  "block.list": BlockList;
  "storage.write": StorageWrite;
  "storage.read": StorageRead;
  "storage.delete": StorageDelete;
  "storage.list": StorageList;
  "audit.list": AuditList;
}

/** What each op is answered with. */
export interface Answers {
  "session.open": SessionOpened;
  "session.resume": SessionOpened;
  "session.renew": SessionRenewed;
  "session.close": null;
  "ping": Pong;
  "account.link": AccountIdentity;
  "account.unlink": null;
  "account.identities": AccountIdentityList;
  "account.get": Account;
  "account.read": Profiles;
  "account.update": Account;
  "account.search": ProfilesFound;
  "account.ban": AccountStanding;
  "account.unban": AccountStanding;
  "account.close": null;
  "account.reopen": AccountStanding;
  "account.standing": AccountStanding;
  "account.grant": AccountStanding;
  "account.revoke": AccountStanding;
  "account.sessions": SignIns;
  "account.end_session": SignInsEnded;
  "account.end_sessions": SignInsEnded;
  "room.join": RoomState;
  "room.leave": null;
  "room.send": Sent;
  "room.history": History;
  "room.members": Members;
  "match.create": MatchCreated;
  "match.list": Matches;
  "match.join": MatchState;
  "match.leave": null;
  "match.input": InputTaken;
  "inbox.join": InboxState;
  "inbox.leave": null;
  "inbox.history": InboxPage;
  "inbox.read": InboxMark;
  "friend.request": FriendTie;
  "friend.accept": FriendTie;
  "friend.decline": null;
  "friend.remove": null;
  "friend.list": FriendsListed;
  "friend.mutual": MutualFriendsFound;
  "friend.suggest": FriendsSuggested;
  "friend.played": FellowsFound;
  "block.add": null;
  "block.remove": null;
  "block.list": BlocksListed;
  "storage.write": ObjectsWritten;
  "storage.read": ObjectsRead;
  "storage.delete": null;
  "storage.list": ObjectsListed;
  "audit.list": AuditListed;
}

/** Each push, by op. */
export interface Pushes {
  "topic.lost": TopicLost;
  "session.expiring": SessionExpiring;
  "room.message": RoomMessage;
  "room.joined": RoomJoined;
  "room.left": RoomLeft;
  "room.presence": RoomPresence;
  "room.recovered": RoomRecovered;
  "room.restarted": RoomRestarted;
  "match.state": MatchStatePush;
  "match.event": MatchEvent;
  "match.ended": MatchEnded;
  "match.recovered": MatchRecovered;
  "match.restarted": MatchRestarted;
  "inbox.entry": InboxEntry;
  "inbox.marked": InboxMarked;
  "inbox.recovered": InboxRecovered;
}

export type Op = keyof Requests;

export type Push = Pushes[keyof Pushes];

/** The codes of the table of errors; a newer server may have more. */
export type ErrorCode =
  | "bad_message"
  | "unknown_op"
  | "no_session"
  | "session_open"
  | "bad_token"
  | "token_expired"
  | "signed_out"
  | "bad_credentials"
  | "bad_code"
  | "weak_password"
  | "second_factor"
  | "second_factor_on"
  | "banned"
  | "account_closed"
  | "no_account"
  | "bad_username"
  | "name_reserved"
  | "name_taken"
  | "sign_ins_full"
  | "too_many_sessions"
  | "too_many_sign_ins"
  | "ref_in_use"
  | "too_many_requests"
  | "rate_limited"
  | "too_long"
  | "out_of_range"
  | "unknown_room"
  | "not_joined"
  | "too_many_topics"
  | "room_full"
  | "unknown_game"
  | "unknown_match"
  | "match_full"
  | "match_ended"
  | "too_many_matches"
  | "bad_input"
  | "rejected"
  | "seq_too_old"
  | "not_asked"
  | "too_many_friends"
  | "bad_cursor"
  | "version_conflict"
  | "forbidden"
  | "quota_exceeded"
  | "key_reused"
  | "timeout"
  | "busy"
  | "unavailable"
  | "failed"
  | "needs_session"
  | "unauthenticated"
  | "unknown_provider"
  | "provider_away"
  | "provider_failed"
  | "bad_proof"
  | "bad_state"
  | "state_used"
  | "bad_id_token"
  | "id_token_expired"
  | "identity_taken"
  | "unknown_identity"
  | "last_way"
  | "bad_user"
  | "not_found"
  | "method_not_allowed"
  | "too_slow"
  | "body_too_big"
  | "not_json"
  | "head_too_big"
  | "internal"
  | (string & {});
