// Made by `python -m protocol.tables` from the table of ops. Do not edit.

/** The ops that may be sent again after a break without harm. */
export const HARMLESS: ReadonlySet<string> = new Set(
  (
    "session.renew ping account.identities account.get account.read account.search account.ban " +
    "account.unban account.close account.reopen account.standing account.grant account.revoke " +
    "account.sessions account.end_session account.end_sessions room.join room.leave room.history " +
    "room.members match.list match.join match.leave match.input inbox.join inbox.leave " +
    "inbox.history inbox.read friend.list friend.mutual friend.suggest friend.played block.list " +
    "storage.read storage.list audit.list"
  ).split(" "),
);

/** The ops that may be sent again if they bear a `key`. */
export const BY_KEY: ReadonlySet<string> = new Set(
  (
    "account.update room.send match.create friend.request friend.accept friend.decline " +
    "friend.remove block.add block.remove storage.write storage.delete"
  ).split(" "),
);

/** The codes of errors after which the same request may succeed later. */
export const RETRY: ReadonlySet<string> = new Set(
  (
    "too_many_sessions too_many_sign_ins too_many_requests rate_limited room_full " +
    "too_many_matches timeout busy unavailable failed provider_away provider_failed too_slow"
  ).split(" "),
);

/** The names of the close codes. */
export const CLOSES: Readonly<Record<number, string>> = {
  1000: "normal",
  1002: "protocol_error",
  1003: "unsupported_data",
  1007: "invalid_text",
  1009: "too_big",
  1011: "server_error",
  4000: "drain",
  4001: "slow_consumer",
  4002: "keepalive_timeout",
  4003: "session_failed",
  4004: "overloaded",
  4005: "no_session_in_time",
  4006: "part_lost",
  4500: "taken_over",
  4501: "flooding",
  4502: "session_ended",
  4503: "token_ran_out",
  4504: "sign_in_ended",
  4505: "account_banned",
  4506: "account_closed",
};
