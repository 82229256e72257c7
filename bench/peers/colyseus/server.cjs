// The crowd's game on Colyseus, with a StateView per client: the same ships, columns,
// movement and 3 × 3 cells as Tickstorm's, inputs as raw bytes, one patch per tick.
//
//   node server.cjs PACKAGES PORT WORLD_SIZE TICK_HZ SEED
//
// PACKAGES is the folder in which @colyseus/core, ws-transport and schema are installed.
"use strict";

const [packages, port, worldSize, tickHz, seed] = process.argv.slice(2);
const load = require("node:module").createRequire(packages + "/");
const { Server, Room, matchMaker } = load("@colyseus/core");
const { WebSocketTransport } = load("@colyseus/ws-transport");
const { schema, t, Encoder, StateView } = load("@colyseus/schema");

const CELL = 1024;
const SIZE = Number(worldSize);
const SIDE = SIZE / CELL;
const DT = 1 / Number(tickHz);
const RADIUS = 18;
const THRUST_DV = 900 * DT;
const DRAG = Math.exp(-2.5 * DT);
const BOUNCE = 0.5;
const POSITION_STEP = 0.5;

Encoder.BUFFER_SIZE = 256 * 1024;

const Ship = schema({
  x: t.uint16(),
  y: t.uint16(),
  heading: t.uint8(),
  hp: t.uint8(),
  flags: t.uint8(),
  power: t.uint8(),
  hue: t.uint8(),
  name: t.string(),
});
const Arena = schema({ ships: t.map(Ship).view() });

// A seeded generator (mulberry32), so that two runs spread their ships alike.
let randomState = Number(seed) >>> 0;
function random() {
  randomState = (randomState + 0x6d2b79f5) | 0;
  let z = Math.imul(randomState ^ (randomState >>> 15), 1 | randomState);
  z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
  return ((z ^ (z >>> 14)) >>> 0) / 4294967296;
}

function cellOf(x, y) {
  const column = Math.min(Math.max(Math.floor(x / CELL), 0), SIDE - 1);
  const row = Math.min(Math.max(Math.floor(y / CELL), 0), SIDE - 1);
  return row * SIDE + column;
}

// Cells around each cell, itself included, without those beyond the edge.
const BLOCKS = Array.from({ length: SIDE * SIDE }, (_, cell) => {
  const block = [];
  for (let row = -1; row <= 1; row++)
    for (let column = -1; column <= 1; column++) {
      const r = Math.floor(cell / SIDE) + row;
      const c = (cell % SIDE) + column;
      if (r >= 0 && r < SIDE && c >= 0 && c < SIDE) block.push(r * SIDE + c);
    }
  return block;
});

function bounce(player, position, velocity) {
  player[position] += player[velocity] * DT;
  if (player[position] < RADIUS || player[position] > SIZE - RADIUS) {
    player[velocity] *= -BOUNCE;
    player[position] = Math.min(Math.max(player[position], RADIUS), SIZE - RADIUS);
  }
}

class ArenaRoom extends Room {
  onCreate() {
    this.autoDispose = false;
    this.state = new Arena();
    this.players = new Map(); // by session id
    this.cells = BLOCKS.map(() => new Set()); // the players in each cell
    this.onMessageBytes(1, (client, bytes) => this.onInput(client, bytes));

    // Patches are sent by hand on absolute deadlines: an interval timer would lose a little
    // each time and with it the exact rate.
    this.patchRate = null;
    this.origin = performance.now();
    this.ticks = 0;
    this.schedule();
  }

  schedule() {
    const due = this.origin + ++this.ticks * DT * 1000;
    setTimeout(() => {
      this.tick();
      const behind = performance.now() - due;
      if (behind > 3 * DT * 1000) this.origin += behind; // as Tickstorm: at most 3 to catch up
      this.schedule();
    }, Math.max(0, due - performance.now()));
  }

  onInput(client, bytes) {
    const player = this.players.get(client.sessionId);
    if (!player || bytes.length !== 18) return;
    player.ack = bytes.readUInt16LE(10);
    player.aim = bytes.readUInt16LE(12);
    player.move = bytes[14];
    player.buttons = bytes[15];
  }

  onJoin(client) {
    const ship = new Ship();
    const x = RADIUS + random() * (SIZE - 2 * RADIUS);
    const y = RADIUS + random() * (SIZE - 2 * RADIUS);
    Object.assign(ship, { x: x / POSITION_STEP, y: y / POSITION_STEP, heading: 0 });
    Object.assign(ship, { hp: 100, flags: 1, power: 0, hue: Math.floor(random() * 256) });
    ship.name = `crowd ${this.players.size}`;
    const player = { client, ship, x, y, vx: 0, vy: 0, move: 0, aim: 0, buttons: 0, ack: 0 };
    player.cell = cellOf(x, y);
    this.players.set(client.sessionId, player);
    this.state.ships.set(client.sessionId, ship);
    client.view = new StateView();
    for (const cell of BLOCKS[player.cell])
      for (const other of this.cells[cell]) {
        client.view.add(other.ship);
        other.client.view.add(ship);
      }
    client.view.add(ship);
    this.cells[player.cell].add(player);
  }

  onLeave(client) {
    const player = this.players.get(client.sessionId);
    if (!player) return;
    this.players.delete(client.sessionId);
    this.cells[player.cell].delete(player);
    this.state.ships.delete(client.sessionId);
    client.view.dispose();
  }

  tick() {
    for (const player of this.players.values()) {
      this.move(player);
      const cell = cellOf(player.x, player.y);
      if (cell !== player.cell) this.changeCell(player, cell);
    }
    this.broadcastPatch();
  }

  move(player) {
    const angle = (player.move * 2 * Math.PI) / 256;
    const dv = player.buttons & 1 ? THRUST_DV : 0;
    player.vx = (player.vx + Math.cos(angle) * dv) * DRAG;
    player.vy = (player.vy + Math.sin(angle) * dv) * DRAG;
    bounce(player, "x", "vx");
    bounce(player, "y", "vy");
    const ship = player.ship;
    ship.x = Math.floor(player.x / POSITION_STEP);
    ship.y = Math.floor(player.y / POSITION_STEP);
    ship.heading = player.aim >> 2;
  }

  changeCell(player, cell) {
    const before = BLOCKS[player.cell];
    const after = BLOCKS[cell];
    this.cells[player.cell].delete(player);
    for (const gone of before)
      if (!after.includes(gone))
        for (const other of this.cells[gone]) {
          player.client.view.remove(other.ship);
          other.client.view.remove(player.ship);
        }
    for (const come of after)
      if (!before.includes(come))
        for (const other of this.cells[come]) {
          player.client.view.add(other.ship);
          other.client.view.add(player.ship);
        }
    player.cell = cell;
    this.cells[cell].add(player);
  }
}

async function main() {
  const transport = new WebSocketTransport();
  const server = new Server({ transport, greet: false, gracefullyShutdown: false });
  server.define("arena", ArenaRoom);
  await matchMaker.accept();
  await matchMaker.createRoom("arena", {});
  await server.listen(Number(port), "127.0.0.1", 4096);
}

process.on("SIGTERM", () => process.exit(0));
main().catch((error) => {
  console.error(error);
  process.exit(1);
});
