// The library ws: its documentation's broadcast.
import { createServer } from "node:http";
import { WebSocket, WebSocketServer } from "ws";
import { obey } from "./publisher.js";

const http = createServer();
const server = new WebSocketServer({ server: http, perMessageDeflate: false });

function publish(data) {
  const text = JSON.stringify(data);
  for (const client of server.clients) if (client.readyState === WebSocket.OPEN) client.send(text);
}

http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => obey(publish, http.address().port));
