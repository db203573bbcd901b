// Colyseus as its documentation shows a room without state: https://docs.colyseus.io/room
import { Room, Server } from "@colyseus/core";
import { WebSocketTransport } from "@colyseus/ws-transport";

class Chat extends Room {
  onCreate() {
    this.onMessage("say", (_, text) => this.broadcast("say", text));
    this.onMessage("echo", (client, text) => client.send("echo", text));
  }
}

const transport = new WebSocketTransport({});
const server = new Server({ transport, greet: false });
// By channel, so that each room of the bench is one room of Colyseus's.
server.define("chat", Chat).filterBy(["channel"]);
await server.listen(0, "127.0.0.1");
console.log(`listening on ws://127.0.0.1:${server.transport.server.address().port}`);
