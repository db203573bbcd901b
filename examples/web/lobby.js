// The lobby chat: what was said, who is there, and a line to say something.
const KEPT = 200;

export class Lobby {
  #room;
  #me;
  #list = document.getElementById("messages");
  #members = document.getElementById("members");

  constructor(room, me) {
    this.#room = room;
    this.#me = me;
    for (const message of room.backlog) this.#said(message);
    this.#counted();
    const input = document.getElementById("body");
    document.getElementById("say").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#say(input.value);
      input.value = "";
    });
  }

  /** Show what comes, until the session or the room is gone. */
  async follow() {
    for await (const update of this.#room.updates()) {
      switch (update.op) {
        case "room.message":
          this.#said(update);
          break;
        case "room.joined":
          this.#note(`${update.member.name} came`);
          break;
        case "room.left":
          this.#note(`${update.member.name} left`);
          break;
        case "gap":
          this.#note(`messages ${update.first} to ${update.last} are missing here`);
      }
      this.#counted();
    }
  }

  async #say(body) {
    try {
      await this.#room.send(body);
    } catch (error) {
      this.#note(`not sent: ${error.message}`);
    }
  }

  #said({ user, name, body, at }) {
    if (!user) return; // it was erased
    const who = document.createElement("b");
    who.textContent = user === this.#me ? "you" : name;
    const line = this.#line(who, " ", body);
    line.title = new Date(at).toLocaleString();
  }

  #note(text) {
    this.#line(text).className = "note";
  }

  #line(...content) {
    const line = document.createElement("li");
    line.append(...content); // as text: nothing that others say becomes part of the page
    this.#list.append(line);
    while (this.#list.children.length > KEPT) this.#list.firstChild.remove();
    this.#list.scrollTop = this.#list.scrollHeight;
    return line;
  }

  #counted() {
    const { members, membersTotal: total } = this.#room;
    const names = members.slice(0, 8).map((member) => member.name);
    const more = total > names.length ? ` and ${total - names.length} more` : "";
    this.#members.textContent = `here: ${names.join(", ")}${more}`;
  }
}
