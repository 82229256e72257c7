/** Keyboard, mouse, touch sticks and gamepad, all read into one intent. */

const STICK_REACH = 52; // CSS px from a stick's centre to its rim
const BOOST_REACH = 82; // pulled farther than this, the left stick boosts
const DEAD_ZONE = 0.22;
const FIRE_ZONE = 0.4; // the right stick fires beyond this

const KEYS = {
  KeyW: "up",
  ArrowUp: "up",
  KeyS: "down",
  ArrowDown: "down",
  KeyA: "left",
  ArrowLeft: "left",
  KeyD: "right",
  ArrowRight: "right",
  ShiftLeft: "boost",
  ShiftRight: "boost",
  Space: "boost",
  KeyF: "fire",
  KeyJ: "fire",
};

/** Where a stick points: `dx, dy` in CSS px; sets `out.angle` (radians) and `out.size` (0..1). */
export function readStick(dx, dy, out) {
  const size = Math.min(Math.hypot(dx, dy) / STICK_REACH, 1);
  out.size = size < DEAD_ZONE ? 0 : size;
  if (out.size > 0) out.angle = Math.atan2(dy, dx);
  return out;
}

class Stick {
  constructor(element) {
    this.element = element;
    this.knob = element.firstElementChild;
    this.pointer = null;
    this.angle = 0;
    this.size = 0;
    this.far = false;
  }

  grab(event) {
    this.pointer = event.pointerId;
    this.originX = event.clientX;
    this.originY = event.clientY;
    this.element.style.transform = `translate(${event.clientX}px, ${event.clientY}px)`;
    this.element.classList.add("held");
    this.drag(event);
  }

  drag(event) {
    const dx = event.clientX - this.originX;
    const dy = event.clientY - this.originY;
    readStick(dx, dy, this);
    this.far = Math.hypot(dx, dy) > BOOST_REACH;
    this.element.classList.toggle("far", this.far);
    const shorten = Math.min(1, STICK_REACH / (Math.hypot(dx, dy) || 1));
    this.knob.style.transform = `translate(${dx * shorten}px, ${dy * shorten}px)`;
  }

  release() {
    this.pointer = null;
    this.size = 0;
    this.far = false;
    this.element.classList.remove("held", "far");
  }
}

export class Input {
  /** `canvas` takes pointers; `sticks` are the elements of the left and right stick. */
  constructor(canvas, moveElement, aimElement) {
    this.intent = { move: 0, thrust: false, boost: false, fire: false, aim: 0 };
    this.enabled = false;
    this.held = { up: false, down: false, left: false, right: false, boost: false, fire: false };
    this.mouse = { x: 0, y: 0, fire: false, boost: false, seen: false };
    this.moveStick = new Stick(moveElement);
    this.aimStick = new Stick(aimElement);
    this.gamepads = 0;
    this.pad = { angle: 0, size: 0, aimAngle: 0, aimSize: 0, fire: false, boost: false };

    addEventListener("keydown", (event) => this.onKey(event, true));
    addEventListener("keyup", (event) => this.onKey(event, false));
    addEventListener("blur", () => this.releaseAll());
    document.addEventListener("visibilitychange", () => this.releaseAll());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => this.onPointerDown(canvas, event));
    addEventListener("pointermove", (event) => this.onPointerMove(event));
    addEventListener("pointerup", (event) => this.onPointerUp(event));
    addEventListener("pointercancel", (event) => this.onPointerUp(event));
    addEventListener("gamepadconnected", () => {
      this.gamepads += 1;
    });
    addEventListener("gamepaddisconnected", () => {
      this.gamepads -= 1;
    });
  }

  onKey(event, down) {
    const action = KEYS[event.code];
    if (!action) return;
    if (!down) {
      this.held[action] = false;
      return;
    }
    const typing = event.target.closest?.("input, select, textarea, dialog")
      || (event.code === "Space" && event.target.closest?.("button, a")); // it presses that
    if (!this.enabled || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    this.held[action] = true;
    if (action === "fire") this.mouse.seen = false; // a keyboard player aims where they fly
    event.preventDefault();
  }

  onPointerDown(canvas, event) {
    if (!this.enabled) return;
    event.preventDefault();
    const focused = /** @type {HTMLElement} */ (document.activeElement);
    if (focused !== document.body) focused.blur();
    if (event.pointerType === "touch") {
      document.body.classList.add("uses-touch");
      const stick = event.clientX < innerWidth / 2 ? this.moveStick : this.aimStick;
      if (stick.pointer === null) stick.grab(event);
      return;
    }
    this.onPointerMove(event);
    canvas.setPointerCapture(event.pointerId);
    if (event.button === 0) this.mouse.fire = true;
    if (event.button === 2) this.mouse.boost = true;
  }

  onPointerMove(event) {
    if (event.pointerType === "touch") {
      if (event.pointerId === this.moveStick.pointer) this.moveStick.drag(event);
      if (event.pointerId === this.aimStick.pointer) this.aimStick.drag(event);
      return;
    }
    this.mouse.x = event.clientX;
    this.mouse.y = event.clientY;
    this.mouse.seen = true;
  }

  onPointerUp(event) {
    if (event.pointerId === this.moveStick.pointer) this.moveStick.release();
    if (event.pointerId === this.aimStick.pointer) this.aimStick.release();
    if (event.pointerType === "touch") return;
    if (event.button === 0 || event.type === "pointercancel") this.mouse.fire = false;
    if (event.button === 2 || event.type === "pointercancel") this.mouse.boost = false;
  }

  releaseAll() {
    for (const action of Object.keys(this.held)) this.held[action] = false;
    this.mouse.fire = this.mouse.boost = false;
    this.moveStick.release();
    this.aimStick.release();
  }

  readPads() {
    this.pad.size = this.pad.aimSize = 0;
    this.pad.fire = this.pad.boost = false;
    for (const pad of navigator.getGamepads()) {
      if (!pad?.connected || pad.axes.length < 4) continue;
      const [lx, ly, rx, ry] = pad.axes;
      if (Math.hypot(lx, ly) > DEAD_ZONE) {
        this.pad.size = 1;
        this.pad.angle = Math.atan2(ly, lx);
      }
      if (Math.hypot(rx, ry) > DEAD_ZONE) {
        this.pad.aimSize = 1;
        this.pad.aimAngle = Math.atan2(ry, rx);
      }
      const pressed = (index) => pad.buttons[index]?.pressed ?? false;
      this.pad.fire ||= pressed(7) || pressed(5);
      this.pad.boost ||= pressed(6) || pressed(4) || pressed(0);
    }
  }

  /** The intent now; `shipX, shipY`: where the own ship is drawn, CSS px. */
  read(shipX, shipY) {
    const { intent, held, mouse, moveStick, aimStick, pad } = this;
    if (this.gamepads > 0) this.readPads();

    const dx = Number(held.right) - Number(held.left);
    const dy = Number(held.down) - Number(held.up);
    intent.thrust = true;
    if (dx !== 0 || dy !== 0) intent.move = Math.atan2(dy, dx);
    else if (moveStick.size > 0) intent.move = moveStick.angle;
    else if (pad.size > 0) intent.move = pad.angle;
    else intent.thrust = false;

    if (aimStick.size > 0) intent.aim = aimStick.angle;
    else if (pad.aimSize > 0) intent.aim = pad.aimAngle;
    else if (mouse.seen && pad.size === 0)
      intent.aim = Math.atan2(mouse.y - shipY, mouse.x - shipX);
    else if (intent.thrust) intent.aim = intent.move;

    intent.boost = held.boost || mouse.boost || moveStick.far || pad.boost;
    intent.fire = held.fire || mouse.fire || aimStick.size > FIRE_ZONE || pad.fire;
    if (!this.enabled) intent.thrust = intent.boost = intent.fire = false;
    return intent;
  }
}
