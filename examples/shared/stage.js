/** A square field on a canvas, and steering by keys or a finger: for games with movement. */

const WAYS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
  KeyA: [-1, 0], KeyD: [1, 0], KeyW: [0, -1], KeyS: [0, 1],
};
const EDGE = 12; // pixels around the field
const SMALLEST = 0.62; // pixels a unit; a smaller screen follows oneself instead
const STICK = 14; // pixels before a finger counts

/** Where one steers: an object whose `dx` and `dy`, each -1, 0 or 1, are kept up to date. */
export function steering(canvas) {
  const way = { dx: 0, dy: 0 };
  const held = new Set();
  const finger = { id: null, x: 0, y: 0 };
  const byKeys = () => {
    const sum = (axis) => Math.sign([...held].reduce((all, key) => all + WAYS[key][axis], 0));
    [way.dx, way.dy] = [sum(0), sum(1)];
  };
  addEventListener("keydown", (event) => {
    if (!(event.code in WAYS) || /** @type {Element} */ (event.target).matches?.("input, dialog *")) return;
    event.preventDefault();
    held.add(event.code);
    byKeys();
  });
  addEventListener("keyup", (event) => held.delete(event.code) && byKeys());
  addEventListener("blur", () => (held.clear(), byKeys()));
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    Object.assign(finger, { id: event.pointerId, x: event.clientX, y: event.clientY });
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== finger.id) return;
    const [x, y] = [event.clientX - finger.x, event.clientY - finger.y];
    const turn = Math.round(Math.atan2(y, x) / (Math.PI / 4)) * (Math.PI / 4); // one of eight
    const far = Math.hypot(x, y) > STICK;
    way.dx = far ? Math.round(Math.cos(turn)) : 0;
    way.dy = far ? Math.round(Math.sin(turn)) : 0;
  });
  const lift = (event) => event.pointerId === finger.id && (finger.id = null, byKeys());
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  return way;
}

/**
 * Clear the canvas and draw the floor; from then on the pen draws in units of the field, which is
 * `size` x `size`. Where that would be tiny, the part around `me` is seen. Returns the scale.
 */
export function floor(pen, size, margin, me) {
  const { canvas } = pen;
  const dpr = devicePixelRatio;
  const [wide, high] = [canvas.clientWidth, canvas.clientHeight];
  const [w, h] = [Math.round(wide * dpr), Math.round(high * dpr)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const whole = size + 2 * margin;
  const scale = Math.max(SMALLEST, (Math.min(wide, high) - 2 * EDGE) / whole);
  const along = (length, at) => (length >= whole * scale
    ? (length - whole * scale) / 2
    : Math.min(EDGE, Math.max(length - EDGE - whole * scale, length / 2 - (at + margin) * scale)));
  const style = getComputedStyle(canvas);
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, w, h);
  pen.setTransform(
    dpr * scale, 0, 0, dpr * scale,
    dpr * (along(wide, me?.x ?? size / 2) + margin * scale),
    dpr * (along(high, me?.y ?? size / 2) + margin * scale),
  );
  pen.fillStyle = style.getPropertyValue("--floor");
  pen.beginPath();
  pen.roundRect(-margin, -margin, whole, whole, margin);
  pen.fill();
  pen.lineWidth = 2 / scale;
  pen.strokeStyle = style.getPropertyValue("--edge");
  pen.stroke();
  pen.fillStyle = style.getPropertyValue("--dots");
  for (let x = size / 18; x < size; x += size / 9) {
    for (let y = size / 18; y < size; y += size / 9) pen.fillRect(x - 2, y - 2, 4, 4);
  }
  return scale;
}

const faces = new WeakMap(); // by body: where it was, which way it looks

/** A round body with eyes that look where it goes; `marked`: with a ring around it. */
export function blob(pen, body, radius, colour, marked) {
  const { x, y } = body;
  const face = faces.get(body) ?? { x, y, look: [0, 0] };
  const [dx, dy] = [x - face.x, y - face.y];
  const far = Math.hypot(dx, dy);
  const aim = far > 0.3 ? [dx / far, dy / far] : [0, 0];
  face.look = face.look.map((value, axis) => value + (aim[axis] - value) * 0.15);
  faces.set(body, Object.assign(face, { x, y }));
  const disc = (at, up, size, fill) => {
    pen.fillStyle = fill;
    pen.beginPath();
    pen.arc(at, up, size, 0, 2 * Math.PI);
    pen.fill();
  };
  const bad = getComputedStyle(pen.canvas).getPropertyValue("--bad");
  if (marked) disc(x, y, radius + 8 + 3 * Math.sin(performance.now() / 120), bad);
  disc(x, y, radius, colour);
  const [lookX, lookY] = face.look;
  for (const side of [-1, 1]) {
    const [eyeX, eyeY] = [x + radius * (0.34 * side + 0.3 * lookX), y + radius * (0.3 * lookY - 0.1)];
    disc(eyeX, eyeY, radius * 0.27, "#fff");
    disc(eyeX + radius * 0.1 * lookX, eyeY + radius * 0.1 * lookY, radius * 0.14, "#171b2e");
  }
}

/** Text whose middle stands at x, y. */
export function label(pen, text, x, y, size) {
  pen.fillStyle = getComputedStyle(pen.canvas).color;
  pen.font = `600 ${size}px system-ui, "DejaVu Sans", sans-serif`;
  pen.textAlign = "center";
  pen.fillText(text, x, y);
}
