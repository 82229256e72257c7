/** A sheet of paper on a canvas: drawing on it with a mouse, a pen or a finger; others' pointers. */

const SIZE = [1250, 1000]; // its own units, whatever the screen
const WIDTH = 8;
const PART_MS = 40; // a stroke is told of in parts

export class Paper {
  #canvas;
  #pen;
  #points = []; // of one's stroke, since the last part
  #fresh = false; // the next part begins a stroke
  #here = null; // where one points, until it is told
  #due = 0;

  /**
   * `onPart(fresh, points)`: a part of a stroke was drawn, `fresh` if it is the first one;
   * `onPoint(x, y)`: the pointer is elsewhere; `parts()`: all that is drawn, `[[ink, points], …]`.
   */
  constructor(canvas, { onPart, onPoint, parts }) {
    [canvas.width, canvas.height] = SIZE;
    this.#canvas = canvas;
    this.#pen = canvas.getContext("2d");
    this.ink = 0;
    this.parts = parts;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    setInterval(() => {
      if (this.#points.length > 1) {
        onPart(this.#fresh, this.#points);
        [this.#fresh, this.#points] = [false, this.#points.slice(-1)];
      }
      if (this.#here) onPoint(...this.#here);
      this.#here = null;
    }, PART_MS);
  }

  draw(ink, points) {
    Object.assign(this.#pen, { lineWidth: WIDTH, lineCap: "round", lineJoin: "round" });
    this.#pen.strokeStyle = getComputedStyle(this.#canvas).getPropertyValue(`--ink-${ink}`);
    this.#pen.stroke(new Path2D(`M${points.join("L")}`));
  }

  /** All of it anew, once before the next picture. */
  redraw() {
    cancelAnimationFrame(this.#due);
    this.#due = requestAnimationFrame(() => {
      this.#pen.clearRect(0, 0, ...SIZE);
      for (const [ink, points] of this.parts()) this.draw(ink, points);
    });
  }

  /** Put a flag at x, y. */
  point(flag, x, y) {
    Object.assign(flag.style, { left: `${(100 * x) / SIZE[0]}%`, top: `${(100 * y) / SIZE[1]}%` });
    flag.hidden = !x && !y; // has not been anywhere yet
  }

  #at({ offsetX, offsetY }) {
    const { clientWidth, clientHeight } = this.#canvas;
    return [
      Math.round((offsetX / clientWidth) * SIZE[0]), Math.round((offsetY / clientHeight) * SIZE[1]),
    ];
  }

  #down(event) {
    this.#canvas.setPointerCapture(event.pointerId);
    const at = this.#at(event);
    [this.#fresh, this.#points] = [true, [at, at]]; // twice: so a dot is a stroke
    this.draw(this.ink, this.#points);
  }

  #move(event) {
    this.#here = this.#at(event);
    if (!event.buttons) return;
    this.#points.push(...event.getCoalescedEvents().map((one) => this.#at(one)));
    this.draw(this.ink, this.#points);
  }
}
