/** Everything around the picture: standing, gauges, leaders, map, feed, chat, death, readout. */

const FEED_MS = 7000;
const CHAT_MS = 12000;
const BANNER_MS = 2200;
const FEED_ROWS = 5;
const CHAT_ROWS = 8;
const BOARD_ROWS = 10;
const MAP_EVERY_MS = 120;
const SLOW_EVERY_MS = 300;
const ALIVE = 1;

/** Kills without dying, and what the crowd shouts. */
const STREAKS = new Map([
  [2, "Double kill"],
  [3, "Triple kill"],
  [5, "Rampage"],
  [8, "Unstoppable"],
  [12, "Stormbringer"],
  [20, "The storm itself"],
]);

/** Some element of the page. @type {(id: string) => any} */
const byId = (id) => document.getElementById(id);

/** Set an element's text only when it changed: most frames change nothing. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** 12345 → "12,345", the same in every locale. */
export function grouped(number) {
  return String(Math.trunc(number)).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** Colours of the map's cells with 1, 2, 4, 8, 16 and more ships. */
const HEAT = [
  "rgb(80 120 255 / .2)",
  "rgb(110 115 255 / .28)",
  "rgb(150 110 250 / .34)",
  "rgb(200 100 220 / .36)",
  "rgb(240 110 150 / .38)",
  "rgb(255 150 110 / .4)",
];

export class Hud {
  constructor() {
    this.score = byId("score");
    this.rank = byId("rank");
    this.players = byId("players");
    this.feed = byId("feed");
    this.chatLog = byId("chat-log");
    this.banner = byId("banner");
    this.death = byId("death");
    this.readout = byId("readout");
    this.hull = this.gauge("hull");
    this.energy = this.gauge("energy");
    this.power = [...byId("power").children];
    this.board = this.boardRows(byId("board-rows"));
    this.map = byId("minimap");
    this.mapCtx = this.map.getContext("2d");
    this.mapDue = this.slowDue = 0;
    this.frames = 0;
    this.framesSince = performance.now();
    this.fps = 0;
    this.reset();
  }

  /** Forget what belonged to the last visit. */
  reset() {
    this.feed.replaceChildren();
    this.chatLog.replaceChildren();
    this.death.hidden = true;
    this.banner.className = "";
    this.shownScore = this.shownPower = -1;
    this.streak = 0;
    this.wasAlive = false;
    this.killer = "";
    this.deathS = 0;
    this.bannerUntil = 0;
  }

  gauge(id) {
    const root = byId(id);
    return { root, bar: root.querySelector("i"), figure: root.querySelector("b"), value: -1 };
  }

  boardRows(list) {
    return Array.from({ length: BOARD_ROWS }, () => {
      const row = document.createElement("li");
      const name = document.createElement("span");
      const score = document.createElement("b");
      row.append(name, score);
      row.hidden = true;
      list.append(row);
      return { row, name, score };
    });
  }

  /** Once a frame. `stats`: the client's; `camera`: the renderer's. */
  update(scene, stats, nowMs, camera) {
    const { self } = scene;
    this.frames += 1;
    this.fill(this.hull, self.hp, 30);
    this.fill(this.energy, self.energy, 20);
    this.showGains(self);
    this.drain(scene, nowMs);
    this.showDeath(self);
    if (nowMs >= this.mapDue) {
      this.mapDue = nowMs + MAP_EVERY_MS;
      this.drawMap(scene, camera);
    }
    if (nowMs >= this.slowDue) {
      this.slowDue = nowMs + SLOW_EVERY_MS;
      this.showStanding(scene);
      this.showReadout(scene, stats, nowMs);
      this.expire(this.feed, nowMs);
      this.expire(this.chatLog, nowMs);
    }
    if (this.bannerUntil && nowMs > this.bannerUntil) {
      this.bannerUntil = 0;
      this.banner.className = "";
    }
  }

  fill(gauge, amount, low) {
    const value = Math.round(amount);
    if (value === gauge.value) return;
    gauge.value = value;
    gauge.bar.style.transform = `scaleX(${Math.max(0, Math.min(100, value)) / 100})`;
    gauge.root.classList.toggle("low", value < low);
    gauge.figure.textContent = String(value);
  }

  showGains({ score, power }) {
    if (score !== this.shownScore) {
      this.shownScore = score;
      this.score.textContent = grouped(score);
    }
    if (power !== this.shownPower) {
      this.shownPower = power;
      this.power.forEach((pip, i) => pip.classList.toggle("on", i < power));
    }
  }

  showStanding({ self, board }) {
    write(this.rank, self.rank > 0 ? `#${self.rank}` : "–");
    write(this.players, `of ${board.players}`);
    this.board.forEach(({ row, name, score }, i) => {
      const entry = board.rows[i];
      row.hidden = !entry;
      row.classList.toggle("me", entry?.[2] === self.slot);
      if (!entry) return;
      write(name, entry[0]);
      write(score, grouped(entry[1]));
    });
  }

  showReadout({ tickHz }, stats, nowMs) {
    const seconds = (nowMs - this.framesSince) / 1000;
    if (seconds >= 1) {
      this.fps = Math.round(this.frames / seconds);
      this.frames = 0;
      this.framesSince = nowMs;
    }
    const rtt = stats.rtt.last;
    const ping = Number.isFinite(rtt) ? Math.round(rtt) : "–";
    write(this.readout, `${ping} ms · ${tickHz} Hz · ${this.fps} fps`);
    this.readout.classList.toggle("bad", rtt > 200);
  }

  /** Take feed, chat and notices out of the scene and show them. */
  drain(scene, nowMs) {
    const { self } = scene;
    for (const { killer, victim, slots: [by, whom] } of scene.feed) {
      if (whom === self.slot) this.killer = killer;
      const row = document.createElement("li");
      for (const [name, role, slot] of [
        [killer, "killer", by],
        [victim, "victim", whom],
      ]) {
        const part = document.createElement("span");
        part.className = slot === self.slot ? `${role} me` : role;
        part.textContent = name;
        row.append(part);
      }
      this.push(this.feed, row, FEED_ROWS, nowMs + FEED_MS);
      if (by === self.slot && whom !== self.slot)
        this.shout(`${victim} destroyed`, "kill", nowMs);
    }
    for (const { name, text } of scene.chat) this.say(name, text, nowMs);
    for (const text of scene.notices) this.say(null, text, nowMs);
    scene.feed.length = scene.chat.length = scene.notices.length = 0;

    if (self.streak > this.streak && STREAKS.has(self.streak)) {
      this.shout(`${STREAKS.get(self.streak)}!`, "streak", nowMs);
    }
    this.streak = self.streak;
  }

  say(name, text, nowMs) {
    const row = document.createElement("li");
    if (name === null) {
      row.className = "server";
    } else {
      const who = document.createElement("b");
      who.textContent = name;
      row.append(who);
    }
    row.append(document.createTextNode(text));
    this.push(this.chatLog, row, CHAT_ROWS, nowMs + CHAT_MS);
  }

  push(list, row, most, untilMs) {
    row.dataset.until = String(untilMs);
    list.append(row);
    while (list.childElementCount > most) list.firstElementChild.remove();
  }

  expire(list, nowMs) {
    for (const row of list.children) row.classList.toggle("old", nowMs > Number(row.dataset.until));
  }

  shout(text, kind, nowMs) {
    if (kind === "kill" && this.bannerUntil && this.banner.className.includes("streak")) return;
    this.banner.textContent = text;
    this.banner.className = "";
    void this.banner.offsetWidth; // restarts the animation
    this.banner.className = `shown ${kind}`;
    this.bannerUntil = nowMs + BANNER_MS;
  }

  showDeath(self) {
    const dead = !self.alive && self.respawnS > 0;
    if (dead && this.wasAlive) {
      this.deathS = self.respawnS;
      write(byId("death-by"), this.killer ? `by ${this.killer}` : "");
    }
    if (self.alive && !this.wasAlive) this.killer = "";
    this.wasAlive = self.alive;
    this.death.hidden = !dead;
    if (!dead) return;
    this.deathS = Math.max(this.deathS, self.respawnS);
    // The feed may come after the blow.
    if (this.killer) write(byId("death-by"), `by ${this.killer}`);
    byId("death-bar").style.transform = `scaleX(${1 - self.respawnS / this.deathS})`;
    write(byId("death-wait"), `Back in ${Math.ceil(self.respawnS)} s`);
  }

  drawMap({ ships, heat, view, size, self }, camera) {
    const { map, mapCtx: ctx } = this;
    const side = Math.round(map.clientWidth * devicePixelRatio);
    if (side === 0) return;
    if (map.width !== side) map.width = map.height = side;
    ctx.clearRect(0, 0, side, side);
    const scale = side / size;

    if (heat.cells) this.drawHeat(ctx, heat, side / heat.width);
    const dot = Math.max(2, Math.round(side / 70));
    ctx.fillStyle = "#ffb169";
    for (let i = 0; i < ships.count; i++) {
      if (i === ships.ownIndex || (ships.flags[i] & ALIVE) === 0) continue;
      ctx.fillRect(ships.x[i] * scale - dot / 2, ships.y[i] * scale - dot / 2, dot, dot);
    }
    const x = view.x * scale;
    const y = view.y * scale;
    ctx.strokeStyle = "rgb(160 230 255 / .5)";
    const units = scale / camera.scale;
    const { left, top, width, height } = camera;
    ctx.strokeRect(left * units, top * units, width * units, height * units);
    ctx.fillStyle = self.alive ? "#8ff6ff" : "#7a86a8";
    ctx.beginPath();
    ctx.arc(x, y, dot * 1.3, 0, 7);
    ctx.fill();
  }

  /** Cells with ships in them, the hotter the more there are. */
  drawHeat(ctx, { width, cells }, pitch) {
    for (let i = 0; i < cells.length; i++) {
      if (cells[i] === 0) continue;
      ctx.fillStyle = HEAT[Math.min(HEAT.length - 1, Math.floor(Math.log2(cells[i])))];
      ctx.fillRect(
        (i % width) * pitch + 0.5,
        Math.floor(i / width) * pitch + 0.5,
        pitch - 1,
        pitch - 1,
      );
    }
  }
}
