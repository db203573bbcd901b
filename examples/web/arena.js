// The arena: find a match with a free place or make one, show its states, send where to push.
import { Pusher } from "./pusher.js";
import { draw } from "./drawing.js";

const GAME = "arena";

export class Arena {
  #session;
  #match;
  #before;
  #now;
  #button = document.getElementById("play");
  #news = document.getElementById("news");
  #canvas = document.getElementById("arena");
  #pusher;

  constructor(session) {
    this.#session = session;
    this.#pusher = new Pusher(this.#canvas, (push) => this.#push(push));
    this.#button.disabled = false;
    this.#frame();
  }

  /** Play match after match, each when the button is pressed. */
  async follow() {
    for (;;) {
      await new Promise((resolve) => this.#button.addEventListener("click", resolve, { once: true }));
      this.#button.disabled = true;
      try {
        await this.#play();
      } catch (error) {
        this.#tell(error.message);
      }
      this.#match = undefined;
      this.#button.disabled = false;
    }
  }

  async #play() {
    const match = await this.#find();
    this.#match = match;
    this.#now = undefined;
    this.#shown(match.state);
    this.#pusher.again();
    this.#tell("collect the orbs");
    this.#canvas.focus();
    for await (const update of match) {
      if (update.op === "match.state") this.#shown(update.state);
      else if (update.op === "match.ended") this.#ended(update, match);
      else if (update.op === "match.event") this.#happened(update, match);
    }
  }

  /** Join the fullest match that has a place, or make one. */
  async #find() {
    const matches = await this.#session.matches(GAME);
    const open = matches.filter((one) => one.players < one.max_players);
    open.sort((a, b) => b.players - a.players);
    for (const { match } of open) {
      try {
        return await this.#session.joinMatch(match);
      } catch (error) {
        // Another was faster, or it has just ended.
        if (!["match_full", "match_ended", "unknown_match", "rejected"].includes(error.code)) {
          throw error;
        }
      }
    }
    return this.#session.createMatch(GAME);
  }

  async #push(push) {
    try {
      await this.#match?.input(push);
    } catch (error) {
      if (!["match_ended", "not_joined"].includes(error.code)) this.#tell(error.message);
    }
  }

  #happened({ kind, player, data }, match) {
    const name = player === this.#session.opened.user ? "you" : match.names[player];
    if (kind === "scored") this.#tell(`${name}: ${data.points}`);
    else if (kind === "joined") this.#tell(`${name} came`);
    else if (kind === "left") this.#tell(`${name} left`);
  }

  #ended({ result, failed }, match) {
    if (failed || !result) this.#tell("the match is over");
    else if (result.winner === this.#session.opened.user) this.#tell("you won");
    else this.#tell(`${match.names[result.winner] ?? result.winner} won`);
  }

  #tell(text) {
    this.#news.textContent = text;
  }

  #shown(state) {
    this.#before = this.#now ?? { state };
    this.#now = { state, at: performance.now() };
  }

  #frame() {
    requestAnimationFrame(() => this.#frame());
    if (this.#now === undefined) return;
    // Shown a tick late, on the way from the last state to the newest.
    const tickMs = 1000 / (this.#match?.tickHz || 20);
    const part = Math.min(1, (performance.now() - this.#now.at) / tickMs);
    const me = this.#session.opened.user;
    draw(this.#canvas, this.#before.state, this.#now.state, part, me, this.#match?.names ?? {});
  }
}
