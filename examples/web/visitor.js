// Who the visitor is. A tab is one player: its token is kept for the tab, so that a reload comes
// back to the same place, and a second tab is somebody else.
const TOKEN = "greenroom-token";
const KINDS = ["Ash", "Birch", "Cedar", "Elm", "Fern", "Hazel", "Iris", "Juniper", "Maple", "Rowan"];

/** Open the tab's session: the one from before, or a new one. */
export async function openingOf(url, connect) {
  const session = (await resumed(url, connect)) ?? (await connect(url, { name: newName() }));
  keep(session);
  return session;
}

async function resumed(url, connect) {
  const token = sessionStorage.getItem(TOKEN);
  if (token === null) return undefined;
  try {
    return await connect(url, { resume: token });
  } catch (error) {
    if (error.code !== "bad_token") throw error;
    sessionStorage.removeItem(TOKEN);
    return undefined;
  }
}

/** Each answer to a resume brings a new token; the newest one is to be kept. */
function keep(session) {
  const save = () => sessionStorage.setItem(TOKEN, session.opened.token);
  save();
  addEventListener("pagehide", save);
}

function newName() {
  const kind = KINDS[Math.floor(Math.random() * KINDS.length)];
  return `${kind}-${Math.floor(Math.random() * 900 + 100)}`;
}
