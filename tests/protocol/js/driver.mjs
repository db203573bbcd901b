// Does with the TypeScript client what it is told on standard input: a command a line, as JSON.
// Each is answered by a line with its `id`. See driven.py, which is at the other end.
import { createInterface } from "node:readline";
import { connect } from "../../../protocol/js/dist/greenroom.js";

const sessions = new Map();
const topics = new Map();
const readers = new Map();

function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

/** What a program sees of a room, match or inbox. */
function seen(topic) {
  const { feed, caller: _, ...fields } = topic;
  const { dropped, conflated } = feed;
  const { members, unread, lastSeq } = topic;
  return { ...fields, topic: topic.topic, feed: { dropped, conflated }, members, unread, lastSeq };
}

function keep(topic) {
  const handle = topics.size;
  for (const [known, one] of topics) if (one === topic) return { handle: known, seen: seen(topic) };
  topics.set(handle, topic);
  readers.set(handle, topic.updates?.() ?? topic);
  return { handle, seen: seen(topic) };
}

const commands = {
  async connect({ session, url, options }) {
    const opened = await connect(url, options);
    sessions.set(session, opened);
    let connected = true;
    setInterval(() => {
      if (opened.connected !== connected) {
        connected = opened.connected;
        say({ session, connected });
      }
    }, 2).unref();
    return opened.opened;
  },
  async close({ session }) {
    await sessions.get(session)?.close();
    sessions.delete(session);
  },
  join: async ({ session, room }) => keep(await sessions.get(session).join(room)),
  joinMatch: async ({ session, match }) => keep(await sessions.get(session).joinMatch(match)),
  inbox: async ({ session }) => keep(await sessions.get(session).inbox()),
  createMatch: async ({ session, game, params, key }) =>
    keep(await sessions.get(session).createMatch(game, params, { key })),
  matches: ({ session, game, limit }) => sessions.get(session).matches(game ?? undefined, limit),
  ping: ({ session }) => sessions.get(session).ping(),
  request: ({ session, op, fields, options }) =>
    sessions.get(session).request(op, fields, options),
  async status({ session }) {
    const { done, value } = await sessions.get(session).statuses()[Symbol.asyncIterator]().next();
    if (done) return { done };
    const { error, ...status } = value;
    return { ...status, why: error?.message };
  },
  /** The next update, as a reader takes it. */
  async next({ handle }) {
    const { done, value } = await readers.get(handle)[Symbol.asyncIterator]().next();
    return { done: done ?? false, update: value, seen: seen(topics.get(handle)) };
  },
  async act({ handle, what, given }) {
    const answer = await topics.get(handle)[what](...given);
    return { answer, seen: seen(topics.get(handle)) };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, command, ...given } = JSON.parse(line);
  Promise.resolve(commands[command](given)).then(
    (answer) => say({ id, answer: answer ?? null }),
    (error) => say({ id, error: { ...error, name: error.name, message: error.message } }),
  );
}
process.exit();
