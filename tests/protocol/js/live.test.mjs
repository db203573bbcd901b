// The package as its user has it, against the live server at GREENROOM_URL: `node --test`.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { connect as tcp, createServer } from "node:net";
import { after, before, describe, test } from "node:test";
import { CannotConnect, ClientError, Disconnected, RequestFailed, RequestTimedOut, connect } from "greenroom";

const URL_OF_SERVER = process.env.GREENROOM_URL;
const SETTINGS = { backoff: { firstMs: 20, factor: 2, maxMs: 200 }, requestTimeoutMs: 30_000 };

/** A way to the server that can be cut, and closed for a while. */
class Way {
  open = true;
  cuts = 0;
  #sockets = new Set();
  #server = createServer((near) => {
    if (!this.open) return void near.destroy();
    const { hostname, port } = new URL(URL_OF_SERVER);
    const far = tcp(Number(port), hostname);
    for (const [one, other] of [[near, far], [far, near]]) {
      this.#sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => {
        this.#sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });

  async start() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `ws://127.0.0.1:${this.#server.address().port}/ws`;
  }

  cut() {
    this.cuts += this.#sockets.size ? 1 : 0;
    for (const socket of this.#sockets) socket.destroy();
  }

  stop() {
    this.cut();
    this.#server.close();
  }
}

/** The next updates of these ops. */
async function take(updates, count, ...ops) {
  const found = [];
  for await (const update of updates) {
    if (ops.includes(update.op)) found.push(update);
    if (found.length === count) break;
  }
  return found;
}

for (const encoding of ["msgpack", "json"]) {
  test(`two clients chat in ${encoding}`, async () => {
    const ada = await connect(URL_OF_SERVER, { name: "ada", encoding });
    const bob = await connect(URL_OF_SERVER, { name: "bob" });
    const here = await ada.join(`chat-${encoding}`);
    const there = await bob.join(`chat-${encoding}`);
    assert.equal(await ada.join(`chat-${encoding}`), here);
    const sent = await there.send("hello ada ✓");
    const [joined, said] = await take(here.updates(), 2, "room.joined", "room.message");
    assert.equal(joined.member.name, "bob");
    assert.deepEqual([said.body, said.offset, said.name], ["hello ada ✓", sent.offset, "bob"]);
    assert.deepEqual(here.members.map(({ name }) => name), ["ada", "bob"]);
    assert.equal((await here.history({ limit: 1 })).messages[0].body, "hello ada ✓");
    await assert.rejects(there.send("x".repeat(5000)), { code: "too_long", retry: false });
    await bob.close();
    await take(here.updates(), 1, "room.left");
    await assert.rejects(bob.ping(), Disconnected);
    assert.ok((await ada.ping()) > 0);
    await ada.close();
  });
}

describe("over a way that is cut", () => {
  const way = new Way();
  let url;

  before(async () => {
    url = await way.start();
  });
  after(() => way.stop());

  test("what is sent at once stands in the room once, and is read once and in order", async () => {
    const ada = await connect(url, { name: "ada", settings: SETTINGS });
    const bob = await connect(URL_OF_SERVER, { name: "bob" });
    const room = await ada.join("cuts");
    const quiet = await bob.join("cuts");
    const cutting = setInterval(() => way.cut(), 40);
    const bodies = Array.from({ length: 60 }, (_, number) => `message ${number}`);
    const sent = [];
    for (const body of bodies) {
      sent.push(room.send(body));
      await new Promise((resolve) => setTimeout(resolve, 4));
    }
    clearInterval(cutting); // before they are all answered: a slow machine would not come to it
    await Promise.all(sent);
    assert.ok(way.cuts > 2);
    const read = (await take(room, 60, "room.message", "gap")).map(({ body }) => body);
    assert.deepEqual([...read].sort(), [...bodies].sort());
    const seen = (await take(quiet, 60, "room.message", "gap")).map(({ body }) => body);
    assert.deepEqual(seen, read);
    await Promise.all([ada.close(), bob.close()]);
  });

  test("who was away for too long is told which messages are missing", async () => {
    const ada = await connect(url, { name: "ada", settings: SETTINGS });
    const bob = await connect(URL_OF_SERVER, { name: "bob" });
    const room = await ada.join("away");
    const there = await bob.join("away");
    way.open = false;
    way.cut();
    await take(statusesOf(ada), 1, "reconnecting");
    for (let left = 200; left > 0; left -= 20) {
      await Promise.all(Array.from({ length: 20 }, (_, number) => there.send(`${left}-${number}`)));
      await new Promise((resolve) => setTimeout(resolve, 200)); // 100 requests a second
    }
    way.open = true;
    const [gap, first] = await take(room, 2, "room.message", "gap");
    assert.deepEqual([gap.op, gap.cause, gap.first], ["gap", "away", 1]);
    assert.equal(first.offset, gap.last + 1);
    const missed = await room.history({ before: gap.last + 1, limit: 1 });
    assert.equal(missed.messages[0].offset, gap.last);
    assert.equal(room.position.offset, 200);
    await Promise.all([ada.close(), bob.close()]);
  });

  test("a request waits for a connection, up to its deadline", async () => {
    const ada = await connect(url, { name: "ada", settings: SETTINGS });
    way.open = false;
    way.cut();
    await take(statusesOf(ada), 1, "reconnecting");
    const late = await ada.request("ping", {}, { timeoutMs: 50 }).catch((error) => error);
    assert.ok(late instanceof RequestTimedOut);
    assert.equal(late.sent, false);
    const waiting = ada.ping();
    way.open = true;
    await waiting;
    await ada.close();
  });
});

/** Statuses as updates with an op, for `take`. */
async function* statusesOf(session) {
  for await (const now of session.statuses()) yield { op: now.status };
}

test("a match of tic-tac-toe is played to its end", async () => {
  const ada = await connect(URL_OF_SERVER, { name: "ada" });
  const bob = await connect(URL_OF_SERVER, { name: "bob" });
  const hers = await ada.createMatch("tictactoe");
  const his = await bob.joinMatch(hers.id);
  async function play(match, me) {
    for await (const update of match) {
      if (update.op === "match.state" && update.state.turn === me) {
        await match.input({ cell: update.state.board.indexOf(".") }).catch((error) => {
          if (!match.ended) throw error;
        });
      }
    }
    return match.ended.result.winner;
  }
  const won = await Promise.all([play(hers, ada.opened.user), play(his, bob.opened.user)]);
  assert.equal(won[0], won[1]);
  assert.ok([ada.opened.user, bob.opened.user].includes(won[0]));
  await assert.rejects(hers.input({ cell: 0 }), RequestFailed);
  await Promise.all([ada.close(), bob.close()]);
});

test("objects are written, read, listed and deleted", async () => {
  const ada = await connect(URL_OF_SERVER, { name: "ada" });
  const { storage } = ada;
  const version = await storage.write("saves", "one", { gold: 30 }, { version: 0 });
  await assert.rejects(storage.write("saves", "one", {}, { version: 0 }), {
    code: "version_conflict",
  });
  assert.deepEqual(JSON.parse((await storage.read("saves", "one")).value), { gold: 30 });
  await storage.write("saves", "two", [1], { read: "public" });
  const names = [];
  for await (const { key } of storage.list("saves", { page: 1 })) names.push(key);
  assert.deepEqual(names, ["one", "two"]);
  await storage.delete("saves", "one", { version });
  assert.equal(await storage.read("saves", "one"), undefined);
  await assert.rejects(storage.write("saves", "nan", { depth: [NaN] }), TypeError);
  await assert.rejects(storage.write("saves", "none", undefined), TypeError);
  const { accounts } = ada;
  await assert.rejects(ada.request("account.get", {}), { code: "no_account" });
  await assert.rejects(accounts.update({ username: "root" }), { code: "name_reserved" });
  const { profiles } = await ada.request("account.read", { users: ["guest-nobody"] });
  assert.deepEqual(profiles, []);
  assert.deepEqual((await ada.request("account.sessions", {})).sessions, []);
  for await (const profile of accounts.search("nobody-yet")) assert.fail(profile.user);
  const inbox = await ada.inbox();
  assert.deepEqual([inbox.unread, inbox.backlog.length], [0, 0]);
  await ada.close();
});

test("a session is taken over, and its first connection told so", async () => {
  const first = await connect(URL_OF_SERVER, { name: "ada" });
  const room = await first.join("taken");
  const second = await connect(URL_OF_SERVER, { resume: first.opened.token });
  assert.equal(second.opened.user, first.opened.user);
  await assert.rejects(take(room, 1, "room.message"), (error) => error.close.code === 4500);
  await second.close();
});

test("what cannot work is said at once", async () => {
  const nobody = connect("ws://127.0.0.1:9/ws", { name: "ada" });
  await assert.rejects(nobody, CannotConnect);
  const elsewhere = connect(URL_OF_SERVER.replace("/ws", "/nowhere"), { name: "ada" });
  await assert.rejects(elsewhere, CannotConnect);
  await assert.rejects(connect(URL_OF_SERVER, {}), ClientError);
  await assert.rejects(connect("no address", { name: "ada" }), CannotConnect);
  await assert.rejects(connect(URL_OF_SERVER, { name: "" }), { code: "bad_message" });
});

test("CommonJS gets the same, with a WebSocket of its own", async () => {
  const common = createRequire(import.meta.url)("greenroom");
  let made = 0;
  class Own extends WebSocket {
    constructor(...given) {
      super(...given);
      made += 1;
    }
  }
  const session = await common.connect(URL_OF_SERVER, { name: "ada", WebSocket: Own });
  await session.ping();
  await session.close();
  assert.equal(made, 1);
});
