// The page: one session, the lobby chat on the left, an arena on the right.
import { CannotConnect, connect } from "/greenroom.js";
import { Arena } from "./arena.js";
import { Lobby } from "./lobby.js";
import { openingOf } from "./visitor.js";

const ATTEMPTS = 5;
const status = document.getElementById("status");

/** Show how the connection is. */
function tell(text, away = false) {
  status.textContent = text;
  status.classList.toggle("away", away);
}

/** Where the server is: it says so itself, but by the name that it has for its own machine. */
async function address() {
  const about = await (await fetch("/", { headers: { accept: "application/json" } })).json();
  const url = new URL(about.clients);
  url.hostname = location.hostname;
  return url.href;
}

/**
 * Open the session. The page may be there before the server has begun to serve clients, so it
 * tries more than once; but not for ever, as a server that does not let it in would not tell it.
 */
async function open() {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await openingOf(await address(), connect);
    } catch (error) {
      if (!(error instanceof CannotConnect) || attempt === ATTEMPTS) throw error;
      tell("no connection yet; trying again", true);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 500 * 2 ** attempt));
    }
  }
}

/** Show breaks and returns of the connection, until the session is over. */
async function watch(session) {
  const here = `you are ${session.opened.name}`;
  tell(here);
  for await (const now of session.statuses()) {
    if (now.status === "connected") tell(here);
    else tell("the connection broke; coming back", true);
  }
  tell("the session is over; reload the page for another one", true);
}

try {
  const session = await open();
  const lobby = new Lobby(await session.join("lobby"), session.opened.user);
  const arena = new Arena(session);
  await Promise.all([watch(session), lobby.follow(), arena.follow()]);
} catch (error) {
  tell(error.message, true);
}
