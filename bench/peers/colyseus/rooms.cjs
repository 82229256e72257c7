// The small game of `python -m bench rooms` on Colyseus: plain room state, no views.
//
//   node rooms.cjs PACKAGES PORT TICK_HZ
//
// `small` is the game; `quiet` is a room that sends nothing. Patches are sent by hand on absolute
// deadlines, each room at a time of its own: an interval timer would lose some of the rate.
"use strict";

const [packages, port, tickHz] = process.argv.slice(2);
const load = require("node:module").createRequire(packages + "/");
const { Server, Room, matchMaker } = load("@colyseus/core");
const { WebSocketTransport } = load("@colyseus/ws-transport");
const { schema, t } = load("@colyseus/schema");

const SIZE = 2048;
const DT = 1 / Number(tickHz);
const WAY = 260 * DT;
const STEP = 0.5; // what travels, as in small_game.py

const Walker = schema({ x: t.uint16(), y: t.uint16(), name: t.string() });
const Field = schema({ walkers: t.map(Walker) });

const wrapped = (at) => ((at % SIZE) + SIZE) % SIZE;

class SmallRoom extends Room {
  onCreate() {
    this.maxClients = 16;
    this.state = new Field();
    this.players = new Map();
    this.onMessageBytes(1, (client, bytes) => {
      const player = this.players.get(client.sessionId);
      if (!player || bytes.length !== 2 || bytes[0] > 2 || bytes[1] > 2) return;
      player.dx = bytes[0] - 1;
      player.dy = bytes[1] - 1;
    });
    this.patchRate = null;
    this.origin = performance.now();
    this.ticks = 0;
    this.schedule();
  }

  schedule() {
    const due = this.origin + ++this.ticks * DT * 1000;
    this.timer = setTimeout(() => {
      this.tick();
      const behind = performance.now() - due;
      if (behind > 3 * DT * 1000) this.origin += behind; // as the other side: at most 3 to catch up
      this.schedule();
    }, Math.max(0, due - performance.now()));
  }

  onJoin(client) {
    const walker = new Walker();
    const player = { walker, x: Math.random() * SIZE, y: Math.random() * SIZE, dx: 0, dy: 0 };
    walker.name = "player";
    this.place(player);
    this.players.set(client.sessionId, player);
    this.state.walkers.set(client.sessionId, walker);
  }

  onLeave(client) {
    this.players.delete(client.sessionId);
    this.state.walkers.delete(client.sessionId);
  }

  onDispose() {
    clearTimeout(this.timer);
  }

  place(player) {
    player.walker.x = Math.floor(player.x / STEP);
    player.walker.y = Math.floor(player.y / STEP);
  }

  tick() {
    for (const player of this.players.values()) {
      player.x = wrapped(player.x + player.dx * WAY);
      player.y = wrapped(player.y + player.dy * WAY);
      this.place(player);
    }
    this.broadcastPatch();
  }
}

class QuietRoom extends Room {
  onCreate() {
    this.maxClients = 16;
    this.patchRate = null;
    this.state = new Field();
  }
}

async function main() {
  const transport = new WebSocketTransport();
  const server = new Server({ transport, greet: false, gracefullyShutdown: false });
  server.define("small", SmallRoom);
  server.define("quiet", QuietRoom);
  await matchMaker.accept();
  await server.listen(Number(port), "127.0.0.1", 4096);
}

process.on("SIGTERM", () => process.exit(0));
main().catch((error) => {
  console.error(error);
  process.exit(1);
});
