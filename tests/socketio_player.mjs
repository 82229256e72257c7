// A player with the real socket.io-client, for tests: reads commands from its input, one JSON array
// a line, and writes what happens to its output likewise.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [folder, url, how, parser] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { io } = require("socket.io-client");
const say = (...what) => process.stdout.write(`${JSON.stringify(what)}\n`);

const kept = {}; // what comes back with us
const first = JSON.parse(how);
const socket = io(url, {
  ...first.options,
  ...(parser === "msgpack" && {
    parser: require("socket.io-msgpack-parser"), path: "/socket.io/msgpack",
  }),
  auth: (answer) => answer({ ...first.auth, ...kept }),
  reconnectionDelay: 100,
});
socket.on("connect", () => say("connect", socket.io.engine.transport.name));
socket.io.on("open", () => {
  socket.io.engine.on("upgrade", (transport) => say("upgrade", transport.name));
});
socket.on("disconnect", (reason) => say("disconnect", reason));
socket.on("connect_error", (error) => say("connect_error", error.message));
socket.on("welcome", ({ room, token }) => Object.assign(kept, { room, token }));
socket.onAny((name, ...args) => say("event", name, ...args));

createInterface({ input: process.stdin }).on("line", (line) => {
  const [what, ...args] = JSON.parse(line);
  if (what === "emit") socket.emit(...args);
  if (what === "ask") socket.emit(...args, (answer) => say("answer", answer));
  if (what === "cut") socket.io.engine.close(); // as a network that fails
  if (what === "bye") socket.disconnect();
}).on("close", () => process.exit(0));
