// Socket.IO as its documentation shows rooms: https://socket.io/docs/v4/rooms/
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http);

io.on("connection", (socket) => {
  socket.on("join", (room, joined) => {
    socket.join(room);
    joined();
  });
  socket.on("say", (room, text) => io.to(room).emit("say", text));
  socket.on("echo", (text, answer) => answer(text));
});

http.listen(0, "127.0.0.1", () => {
  console.log(`listening on ws://127.0.0.1:${http.address().port}`);
});
