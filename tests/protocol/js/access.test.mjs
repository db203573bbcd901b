// Access tokens: what the client sends, to a server that is played here: it alone can let a token
// run out at the right moment.
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Disconnected, connect } from "greenroom";

const SETTINGS = { backoff: { firstMs: 1, factor: 1, maxMs: 1 } };

/** A WebSocket whose server answers by `answers`, op -> data, and keeps what it was sent. */
function played(answers) {
  const sent = [];
  const sockets = [];
  class Played {
    protocol = "greenroom.v1.json";

    constructor() {
      sockets.push(this);
      queueMicrotask(() => this.onopen?.({}));
    }

    send(text) {
      const { ref, ...request } = JSON.parse(text);
      sent.push(request);
      const data = answers(request);
      const { op = "ok", ...refusal } = data.op === "error" ? data : { data };
      queueMicrotask(() => this.push({ op, ref, ...refusal }));
    }

    push(message) {
      this.onmessage?.({ data: JSON.stringify(message) });
    }

    close() {}
  }
  return { sent, sockets, WebSocket: Played };
}

function opened(more = {}) {
  return {
    session: "s1", user: "u1", name: "ada", token: "t1", resumed: false, resume_within_s: 60,
    keepalive_s: 0, max_message_bytes: 65536, ...more,
  };
}

function counting() {
  let number = 0;
  return () => `gra_${++number}`;
}

async function settled() {
  for (let turn = 0; turn < 20; turn += 1) await null;
}

test("a token that does not change is shown at the open and at each resume", async () => {
  const server = played(() => opened());
  const options = { name: "ada", token: "gra_x", encoding: "json", settings: SETTINGS };
  const session = await connect("ws://x/ws", { ...options, WebSocket: server.WebSocket });
  server.sockets[0].onclose({ code: 4000, reason: "drain" });
  while (server.sent.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.deepEqual(server.sent, [
    { op: "session.open", name: "ada", token: "gra_x" },
    { op: "session.resume", token: "t1", positions: {}, access: "gra_x" },
  ]);
  await settled();
  const over = session.ping();
  server.sockets[1].onclose({ code: 4503, reason: "token_ran_out" });
  await assert.rejects(over, Disconnected);
});

test("a token is renewed before it runs out, and when the server says so", async () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  const server = played(({ op }) => {
    const expires = Date.now() + 100_000;
    return op === "session.renew" ? { token: "t2", expires } : opened({ expires });
  });
  const options = { name: "ada", token: counting(), encoding: "json" };
  const session = await connect("ws://x/ws", { ...options, WebSocket: server.WebSocket });
  mock.timers.tick(79_000);
  await settled();
  assert.equal(server.sent.length, 1);
  mock.timers.tick(1_000);
  await settled();
  assert.deepEqual(server.sent.at(-1), { op: "session.renew", access: "gra_2" });
  assert.equal(session.opened.token, "t2");
  server.sockets[0].push({ op: "session.expiring" });
  await settled();
  assert.deepEqual(server.sent.at(-1), { op: "session.renew", access: "gra_3" });
  mock.timers.reset();
  void session.close();
});

test("after it ran out all the same, the session goes on with a fresh one", async () => {
  const server = played(() => opened());
  const options = { name: "ada", token: counting(), encoding: "json", settings: SETTINGS };
  const session = await connect("ws://x/ws", { ...options, WebSocket: server.WebSocket });
  server.sockets[0].onclose({ code: 4503, reason: "token_ran_out" });
  while (server.sent.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.deepEqual(server.sent[1].access, "gra_2");
  void session.close();
});

test("a token that ran out on the way is replaced, not the end of the session", async () => {
  const answers = [opened(), { op: "error", code: "token_expired", message: "" }, opened()];
  const server = played(() => answers.shift());
  const options = { name: "ada", token: counting(), encoding: "json", settings: SETTINGS };
  const session = await connect("ws://x/ws", { ...options, WebSocket: server.WebSocket });
  server.sockets[0].onclose({ code: 4000, reason: "drain" });
  while (server.sent.length < 3) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.deepEqual(server.sent.map((one) => one.access), [undefined, "gra_2", "gra_3"]);
  void session.close();
});

test("a clock that is an hour ahead does not make it renew without end", async () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 3_600_000 });
  const server = played(({ op }) =>
    op === "session.renew" ? { token: "t2", expires: 1000 } : opened({ expires: 1000 }),
  );
  const options = { name: "ada", token: counting(), encoding: "json" };
  const session = await connect("ws://x/ws", { ...options, WebSocket: server.WebSocket });
  for (let second = 0; second < 60; second += 1) {
    mock.timers.tick(1000);
    await settled();
  }
  assert.ok(server.sent.length <= 7, server.sent.length);
  mock.timers.reset();
  void session.close();
});
