/** The whole of a journal in one strip: how much went on, who came and went, and where one is. */

import { make } from "./dom.js";

const HEIGHT = 72;
const COLOURS = { join: "--good", return: "--good", leave: "--bad", drop: "--bad", call: "--accent", result: "--warn", close: "--bad" };

export class Scrubber {
  #past;
  #canvas;
  #tick = 0;
  #strays = null;
  #found = [];
  #on;

  constructor(past, on) {
    this.#past = past;
    this.#on = on;
    this.#canvas = make("canvas.scrubber", {
      tabIndex: 0, role: "slider", "aria-label": "Tick of the journal",
      "aria-valuemin": past.first, "aria-valuemax": past.last,
    });
    this.element = this.#canvas;
    const at = (event) => {
      const { left, width } = this.#canvas.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - left) / width));
      this.#on(Math.round(past.first + share * (past.last - past.first)));
    };
    this.#canvas.onpointerdown = (event) => {
      this.#canvas.setPointerCapture(event.pointerId);
      at(event);
      this.#canvas.onpointermove = at;
    };
    this.#canvas.onpointerup = () => { this.#canvas.onpointermove = null; };
    new ResizeObserver(() => this.#paint()).observe(this.#canvas);
  }

  draw(tick, strays = null) {
    this.#tick = tick;
    this.#strays = strays ?? null;
    this.#canvas.setAttribute("aria-valuenow", tick);
    this.#paint();
  }

  /** Ticks that a search has found. */
  found(ticks) {
    this.#found = ticks;
    this.#paint();
  }

  #x(tick) {
    const { first, last } = this.#past;
    return last > first ? (tick - first) / (last - first) * this.#canvas.clientWidth : 0;
  }

  #paint() {
    const canvas = this.#canvas;
    const width = canvas.clientWidth;
    if (!width) return;
    const scale = devicePixelRatio || 1;
    canvas.width = width * scale;
    canvas.height = HEIGHT * scale;
    const paint = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name);
    paint.scale(scale, scale);
    const { activity, marks } = this.#past;
    const most = Math.max(1, ...activity);
    if (this.#strays !== null) {
      paint.fillStyle = colour("--strays");
      paint.fillRect(this.#x(this.#strays), 0, width, HEIGHT);
    }
    paint.fillStyle = colour("--bars");
    const bar = width / activity.length;
    activity.forEach((count, i) => {
      const tall = count ? 3 + Math.sqrt(count / most) * (HEIGHT - 26) : 0;
      paint.fillRect(i * bar, HEIGHT - 14 - tall, Math.max(1, bar - 0.5), tall);
    });
    paint.fillStyle = colour("--edge");
    paint.fillRect(0, HEIGHT - 14, width, 1);
    for (const [tick, kind] of marks) {
      paint.fillStyle = colour(COLOURS[kind] ?? "--dim");
      paint.fillRect(this.#x(tick) - 1, HEIGHT - 12, 2, 8);
    }
    paint.fillStyle = colour("--warn");
    for (const tick of this.#found) {
      paint.beginPath();
      paint.moveTo(this.#x(tick) - 5, 0);
      paint.lineTo(this.#x(tick) + 5, 0);
      paint.lineTo(this.#x(tick), 9);
      paint.fill();
    }
    const x = Math.min(Math.max(this.#x(this.#tick), 1), width - 1);
    paint.fillStyle = colour("--ink");
    paint.fillRect(x - 1, 0, 2, HEIGHT);
    paint.beginPath();
    paint.arc(Math.min(Math.max(x, 6), width - 6), HEIGHT - 7, 6, 0, 2 * Math.PI);
    paint.fill();
  }
}
