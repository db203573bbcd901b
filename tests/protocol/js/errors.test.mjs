// What goes wrong is a ClientError, whatever WebSocket there is, and is told in a line one can read.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { CannotConnect, ClientError, connect } from "greenroom";

class Played {
  protocol = "greenroom.v1.json";
  static last;

  constructor() {
    Played.last = this;
    queueMicrotask(() => this.onopen?.({}));
  }

  send(text) {
    const { ref } = JSON.parse(text);
    const data = {
      session: "s1", user: "u1", name: "ada", token: "t1", resumed: false, resume_within_s: 60,
      keepalive_s: 0, max_message_bytes: 65536,
    };
    queueMicrotask(() => this.onmessage?.({ data: JSON.stringify({ op: "ok", ref, data }) }));
  }

  close() {}
}

const OPTIONS = { name: "ada", encoding: "json", WebSocket: Played };

test("an open connection has a handler of errors, without which `ws` throws", async () => {
  const session = await connect("ws://x/ws", OPTIONS);
  assert.equal(typeof Played.last.onerror, "function");
  Played.last.onerror(new Error("broken"));
  await session.close();
});

test("an address that is none and a WebSocket that cannot be made are CannotConnect", async () => {
  await assert.rejects(connect("no address", { name: "ada" }), CannotConnect);
  class Broken {
    constructor() {
      throw new SyntaxError("not like this");
    }
  }
  const broken = connect("ws://x/ws", { ...OPTIONS, WebSocket: Broken });
  await assert.rejects(broken, (error) => error instanceof CannotConnect && error.permanent);
});

test("what is given wrongly is a ClientError", async () => {
  await assert.rejects(connect("ws://x/ws", {}), ClientError);
  await assert.rejects(connect("ws://x/ws", { name: "a", resume: "b" }), ClientError);
});

test("an error that nobody catches is printed without a page of minified text", () => {
  const program = 'import { connect } from "greenroom"; await connect("ws://127.0.0.1:9/", { name: "a" });';
  const arguments_ = ["--input-type=module", "--eval", program];
  const done = spawnSync(process.execPath, arguments_, { cwd: process.cwd(), encoding: "utf8" });
  assert.notEqual(done.status, 0);
  assert.match(done.stderr, /CannotConnect: cannot connect to ws:\/\/127\.0\.0\.1:9\//);
  for (const line of done.stderr.split("\n")) assert.ok(line.length < 1000, line);
});
