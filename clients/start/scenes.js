/**
 * A small scene of each game, drawn from the time alone: `scene(pen, seconds, wide, high, colour)`,
 * where `colour("c0")` is one of the page's.
 */

const TURN = 2 * Math.PI;

/** A number from 0 to 1 that is always the same for `n`. */
function chance(n) {
  const x = Math.sin(n * 127.1 + 311.7) * 43758.5453;
  return x - Math.floor(x);
}

function disc(pen, x, y, radius, fill) {
  pen.fillStyle = fill;
  pen.beginPath();
  pen.arc(x, y, radius, 0, TURN);
  pen.fill();
}

function dots(pen, wide, high, fill) {
  pen.fillStyle = fill;
  for (let x = 14; x < wide; x += 28) for (let y = 14; y < high; y += 28) pen.fillRect(x, y, 2, 2);
}

/** Where something is that wanders around the middle. */
function wander(n, time, wide, high) {
  const [a, b] = [0.5 + chance(n), 0.5 + chance(n + 50)];
  return [
    wide * (0.5 + 0.38 * Math.sin(time * a * 0.5 + n * 2.1) + 0.05 * Math.sin(time * 1.3 + n)),
    high * (0.5 + 0.34 * Math.sin(time * b * 0.6 + n * 4.4)),
  ];
}

const NEON = ["#5ef2ff", "#ff5ac8", "#ffc857", "#7dffb8", "#b49bff"];

function ship(pen, n, time, wide, high) {
  const [x, y] = wander(n, time, wide, high);
  const [u, v] = wander(n, time + 0.05, wide, high);
  const neon = NEON[n % NEON.length];
  pen.strokeStyle = neon;
  pen.lineCap = "round";
  for (let step = 1; step < 9; step++) { // its trail
    const [p, q] = wander(n, time - step * 0.09, wide, high);
    const [r, s] = wander(n, time - (step - 1) * 0.09, wide, high);
    pen.globalAlpha = (0.4 * (9 - step)) / 9;
    pen.lineWidth = 5 - step / 2;
    pen.beginPath();
    pen.moveTo(p, q);
    pen.lineTo(r, s);
    pen.stroke();
  }
  pen.globalAlpha = 1;
  pen.save();
  pen.translate(x, y);
  pen.rotate(Math.atan2(v - y, u - x));
  pen.shadowColor = neon;
  pen.shadowBlur = 14;
  pen.lineWidth = 2;
  pen.fillStyle = "#05060f";
  pen.beginPath();
  pen.moveTo(13, 0);
  pen.lineTo(-9, 8);
  pen.lineTo(-5, 0);
  pen.lineTo(-9, -8);
  pen.closePath();
  pen.fill();
  pen.stroke();
  const shot = (time * 0.9 + chance(n + 9)) % 1; // now and then it fires
  if (Math.floor(time * 0.9 + chance(n + 9)) % 3 === n % 3) {
    pen.globalAlpha = 1 - shot;
    pen.strokeStyle = "#fff";
    pen.beginPath();
    pen.moveTo(18 + shot * 190, 0);
    pen.lineTo(30 + shot * 190, 0);
    pen.stroke();
  }
  pen.restore();
}

function arena(pen, time, wide, high) {
  for (let n = 0; n < 130; n++) {
    const x = (chance(n) * wide + wide - ((time * (4 + 10 * chance(n + 7))) % wide)) % wide;
    const light = `rgb(180 205 255 / ${0.2 + 0.5 * chance(n + 900)})`;
    disc(pen, x, chance(n + 300) * high, 0.5 + chance(n + 600) * 1.1, light);
  }
  const count = Math.max(6, Math.min(16, Math.round(wide / 70)));
  for (let n = 0; n < 18; n++) {
    const glow = 3 + Math.sin(time * 3 + n);
    pen.shadowColor = "#7dffb8";
    pen.shadowBlur = 10;
    disc(pen, chance(n + 40) * wide, chance(n + 80) * high, glow, "rgb(125 255 184 / .8)");
  }
  pen.shadowBlur = 0;
  for (let n = 0; n < count; n++) ship(pen, n, time, wide, high);
}

function tag(pen, time, wide, high, colour) {
  dots(pen, wide, high, colour("dots"));
  const it = Math.floor(time / 4) % 5;
  for (let n = 0; n < 5; n++) {
    const [x, y] = wander(n + 3, time * 1.5, wide, high);
    if (n === it) disc(pen, x, y, 19 + 2 * Math.sin(time * 8), colour("c0"));
    disc(pen, x, y, 13, n === 0 ? colour("ink") : colour(`c${n}`));
  }
}

const GAME = [4, 0, 2, 6, 3, 5, 8]; // cells, X first

function tictactoe(pen, time, wide, high, colour) {
  const size = Math.min(high * 0.27, 54);
  const shown = Math.min(GAME.length, (time % 10) * 1.1);
  pen.lineCap = "round";
  for (let at = 0; at < 9; at++) {
    const [x, y] = [
      wide / 2 + ((at % 3) - 1) * size * 1.1, high / 2 + (Math.floor(at / 3) - 1) * size * 1.1,
    ];
    pen.fillStyle = colour("card");
    pen.strokeStyle = colour("edge");
    pen.lineWidth = 1;
    pen.beginPath();
    pen.roundRect(x - size / 2, y - size / 2, size, size, size * 0.2);
    pen.fill();
    pen.stroke();
    const turn = GAME.indexOf(at);
    const part = Math.min(1, Math.max(0, (shown - turn) * 2));
    if (turn < 0 || part === 0) continue;
    const half = size * 0.24;
    pen.lineWidth = size * 0.11;
    pen.beginPath();
    if (turn % 2) {
      pen.strokeStyle = colour("c1");
      pen.arc(x, y, half * 1.1, -TURN / 4, -TURN / 4 + TURN * part);
    } else {
      pen.strokeStyle = colour("c0");
      const [first, second] = [Math.min(1, part * 2), Math.max(0, part * 2 - 1)];
      pen.moveTo(x - half, y - half);
      pen.lineTo(x - half + 2 * half * first, y - half + 2 * half * first);
      pen.moveTo(x + half, y - half);
      pen.lineTo(x + half - 2 * half * second, y - half + 2 * half * second);
    }
    pen.stroke();
  }
}

function board(pen, time, wide, high, colour) {
  dots(pen, wide, high, colour("dots"));
  const paths = [
    (u) => [0.1 + 0.35 * u, 0.55 + 0.25 * Math.sin(u * TURN * 1.5)],
    (u) => [0.7 + 0.14 * Math.cos(u * TURN), 0.45 + 0.28 * Math.sin(u * TURN)],
    (u) => [0.64 + 0.12 * u, 0.5 + 0.16 * Math.sin(u * Math.PI)],
    (u) => [0.15 + 0.32 * u, 0.28 - 0.1 * u],
  ];
  const total = (time % 12) / 2;
  paths.forEach((path, n) => {
    const part = Math.min(1, Math.max(0, total - n));
    if (part === 0) return;
    pen.strokeStyle = colour(`c${n + 1}`);
    pen.lineWidth = 5;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    for (let u = 0; u <= part; u += 0.02) pen.lineTo(path(u)[0] * wide, path(u)[1] * high);
    pen.stroke();
    if (part === 1) return;
    const [x, y] = path(part);
    pen.fillStyle = colour(`c${n + 1}`);
    pen.beginPath();
    pen.roundRect(x * wide + 4, y * high + 4, 46, 18, [0, 9, 9, 9]);
    pen.fill();
  });
}

function chat(pen, time, wide, high, colour) {
  const rows = [0.5, 0.34, 0.6, 0.28, 0.46, 0.38];
  const tall = 30;
  const newest = time * 0.55; // rows come in at the bottom and move up
  for (let n = Math.floor(newest); n > newest - high / tall - 1; n--) {
    const row = ((n % 6) + 6) % 6;
    const mine = row % 3 === 1;
    const long = rows[row] * wide;
    const at = high - (newest - n) * tall;
    pen.fillStyle = mine ? colour("accent") : colour("card");
    pen.beginPath();
    pen.roundRect(mine ? wide - long - 24 : 52, at, long, 22, 11);
    pen.fill();
    if (!mine) disc(pen, 34, at + 11, 10, colour(`c${row % 5}`));
  }
}

function suit(pen, x, y, size, red) {
  pen.beginPath();
  if (red) {
    pen.moveTo(x, y + size);
    pen.bezierCurveTo(x - size * 1.6, y - size * 0.2, x - size * 0.7, y - size * 1.3, x, y - size * 0.4);
    pen.bezierCurveTo(x + size * 0.7, y - size * 1.3, x + size * 1.6, y - size * 0.2, x, y + size);
  } else {
    pen.moveTo(x, y - size);
    pen.lineTo(x + size * 0.75, y);
    pen.lineTo(x, y + size);
    pen.lineTo(x - size * 0.75, y);
  }
  pen.fill();
}

function crazy(pen, time, wide, high, colour) {
  pen.fillStyle = colour("felt");
  pen.fillRect(0, 0, wide, high);
  const [w, h] = [high * 0.36, high * 0.52];
  const cards = ["8", "Q", "8", "5", "8"];
  cards.forEach((rank, n) => {
    const lift = Math.max(0, Math.sin(time * 1.2 - n * 0.7)) ** 6 * 14;
    pen.save();
    pen.translate(wide / 2, high * 1.35);
    pen.rotate((n - 2) * 0.2);
    pen.translate(0, -high * 0.83 - lift);
    pen.shadowColor = "rgb(0 0 0 / .35)";
    pen.shadowBlur = 10;
    pen.fillStyle = "#fbfaf6";
    pen.beginPath();
    pen.roundRect(-w / 2, -h / 2, w, h, 8);
    pen.fill();
    pen.shadowBlur = 0;
    pen.fillStyle = n % 2 ? "#171b2e" : "#cf2f4b";
    pen.font = `700 ${h * 0.24}px system-ui, sans-serif`;
    pen.fillText(rank, -w / 2 + 7, -h / 2 + h * 0.26);
    suit(pen, w * 0.12, h * 0.14, h * 0.17, n % 2 === 0);
    pen.restore();
  });
}

function crowd(pen, time, wide, high, colour) {
  for (let n = 0; n < 320; n++) {
    const angle = n * 2.4 + time * (0.15 + 0.3 * chance(n));
    const far = Math.sqrt(n / 320) * Math.max(wide, high) * 0.55 * (1 + 0.06 * Math.sin(time + n));
    const [x, y] = [wide / 2 + far * Math.cos(angle), high / 2 + 0.6 * far * Math.sin(angle)];
    disc(pen, x, y, 2.6, colour(`c${n % 5}`));
  }
}

/** For games that are not known here. */
function other(pen, time, wide, high, colour) {
  dots(pen, wide, high, colour("dots"));
  for (let n = 0; n < 5; n++) {
    const [x, y] = wander(n + 11, time, wide, high);
    pen.globalAlpha = 0.8;
    disc(pen, x, y, 16 + 10 * chance(n), colour(`c${n}`));
  }
}

export const scenes = { arena, tag, tictactoe, board, chat, crazy, crowd, other };
