// Socket.IO over WebSocket alone. As its documentation advises for many clients, the first request is let go.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { obey } from "./publisher.js";

const http = createServer();
const server = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });
server.engine.on("connection", (raw) => {
  raw.request = null;
});

const publish = (data) => server.emit("event", data);
const paths = { ws: "/socket.io/?EIO=4&transport=websocket" };
http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => obey(publish, http.address().port, paths));
