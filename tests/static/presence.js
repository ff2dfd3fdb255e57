/**
 * A page for tests/static/test_presence_js.py: follows who is there at one server, and is told by lines of its input what to do.
 *
 *   node presence.js MOUNT CHANNEL
 *
 *   join NAME MOUNT DATA | say NAME DATA | leave NAME | vanish NAME
 *
 * Says each list that it would show, and what came of the commands.
 */

import { createInterface } from "node:readline";

import { connect } from "../../transports/static/client.js";
import { members, present } from "../../transports/static/presence.js";

const [mount, channel] = process.argv.slice(2);
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const live = connect(mount, { channels: [`presence:${channel}`], memory: null });
const stays = {};
let gone = false;

const end = members(live, mount, channel, (list) => say({ list: list.map(({ as, data }) => [as, data]) }), {
  refused: ({ code }) => say({ refused: code }),
});

const input = createInterface({ input: process.stdin });
for await (const line of input) {
  const [what, name, ...rest] = line.split(" ");
  if (what === "join") {
    const [where, data] = rest;
    const here = (url, init) => (stays[name].vanished ? Promise.reject(new TypeError("gone")) : fetch(url, init));
    stays[name] = { vanished: false };
    const options = { as: name, data: JSON.parse(data), fetch: here, refused: ({ code }) => say({ refused: code }) };
    Object.assign(stays[name], present(where, channel, options));
    stays[name].joined.then(() => say({ joined: name }), () => {});
  } else if (what === "say") stays[name].say(JSON.parse(rest[0]));
  else if (what === "vanish") stays[name].vanished = true;
  else if (what === "leave") await stays[name].leave();
  else gone = true;
  if (gone) break;
}
end();
live.close();
process.exit(0);
