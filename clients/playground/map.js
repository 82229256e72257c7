/** What has an `x` and a `y`, from above, with the way that it came. */

import { hue } from "./dom.js";

const HEIGHT = 240;
const MARGIN = 26;
const STEADY = new Set(["x", "y", "input"]); // of these a change is no news

/** Is there something to draw? */
export function placed(entities) {
  return entities.some(({ fields }) => Number.isFinite(fields.x) && Number.isFinite(fields.y));
}

let seen = null; // how far the present room reaches, so that it does not breathe
let of = "";

/** `before`: the moment that was shown last, if it is near; `room`: which one it is. */
export function drawMap(canvas, moment, before, room) {
  const width = canvas.clientWidth || 400;
  const scale = devicePixelRatio || 1;
  canvas.width = width * scale;
  canvas.height = HEIGHT * scale;
  const here = moment.entities.filter(({ fields }) => Number.isFinite(fields.x) && Number.isFinite(fields.y));
  if (of !== room) seen = null;
  of = room;
  for (const { fields: { x, y } } of here) {
    seen ??= { left: x, right: x, top: y, bottom: y };
    seen.left = Math.min(seen.left, x);
    seen.right = Math.max(seen.right, x);
    seen.top = Math.min(seen.top, y);
    seen.bottom = Math.max(seen.bottom, y);
  }
  const wide = Math.max(1, seen.right - seen.left);
  const tall = Math.max(1, seen.bottom - seen.top);
  const unit = Math.min((width - 2 * MARGIN) / wide, (HEIGHT - 2 * MARGIN) / tall);
  const at = ({ x, y }) => [
    width / 2 + (x - (seen.left + seen.right) / 2) * unit,
    HEIGHT / 2 + (y - (seen.top + seen.bottom) / 2) * unit,
  ];
  const paint = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(name.slice(4, -1));
  paint.scale(scale, scale);
  const was = new Map((before?.entities ?? []).map((entity) => [entity.id, entity.fields]));
  const struck = new Set(moment.acts.flatMap((act) => act.changes)
    .filter(({ field }) => !STEADY.has(field)).map(({ entity }) => entity));
  paint.font = "600 12px system-ui";
  paint.textAlign = "center";
  for (const { id, kind, name, fields } of here) {
    const [x, y] = at(fields);
    const old = was.get(id);
    paint.strokeStyle = paint.fillStyle = colour(hue(name || kind));
    if (old && Number.isFinite(old.x) && (old.x !== fields.x || old.y !== fields.y)) {
      paint.beginPath();
      paint.moveTo(...at(old));
      paint.lineTo(x, y);
      paint.lineWidth = 2;
      paint.stroke();
    }
    paint.globalAlpha = fields.connected === false ? 0.35 : 1;
    paint.beginPath();
    paint.arc(x, y, name ? 8 : 4, 0, 2 * Math.PI);
    paint.fill();
    if (struck.has(id)) {
      paint.beginPath();
      paint.arc(x, y, 12, 0, 2 * Math.PI);
      paint.lineWidth = 2;
      paint.stroke();
    }
    if (name) {
      paint.fillStyle = style.getPropertyValue("--ink");
      paint.fillText(name, x, y - 14);
    }
    paint.globalAlpha = 1;
  }
}
