/** Pictures of time: sparklines, areas by phase, the last second of a loop, flames. */

import { h, ms, svg } from "./dom.js";

export const COLOURS = {
  read: "#4cc9f0", inputs: "#6f8bff", step: "#a56bff", rules: "#d68bf5", journal: "#ffb347",
  history: "#2dd4bf", upkeep: "#8493ad", encode: "#ff6fae", send: "#54d98c",
};
const OTHERS = ["#f97362", "#c3d04a", "#60a5fa", "#e879f9"];

export function colour(phase) {
  if (COLOURS[phase]) return COLOURS[phase];
  let sum = 0;
  for (const letter of phase) sum = (sum * 31 + letter.codePointAt(0)) >>> 0;
  return OTHERS[sum % OTHERS.length];
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A canvas as sharp as the screen; `draw(context, width, height)` in CSS pixels. */
function canvas(height, label, draw) {
  const element = h("canvas", { role: "img", "aria-label": label });
  element.style.height = `${height}px`;
  element.redraw = () => {
    const width = element.clientWidth;
    if (!width) return;
    const ratio = devicePixelRatio || 1;
    if (element.width !== Math.round(width * ratio)) {
      element.width = Math.round(width * ratio);
      element.height = Math.round(height * ratio);
    }
    const context = element.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    draw(context, width, height);
  };
  new ResizeObserver(() => element.redraw()).observe(element);
  return element;
}

/** A line of the last minutes, filled. */
export function spark(tone) {
  const line = svg("path", { class: "line" });
  const fill = svg("path", { class: "fill" });
  const box = svg("svg", { class: `spark ${tone}`, viewBox: "0 0 100 32", preserveAspectRatio: "none" });
  box.setAttribute("aria-hidden", "true");
  box.append(fill, line);
  box.show = (values) => {
    if (values.length < 2) return;
    const top = Math.max(...values, 1e-9) * 1.08;
    const bottom = Math.min(...values) * 0.92;
    const range = top - Math.min(bottom, top - 1e-9);
    const x = (at) => (100 * at) / (values.length - 1);
    const points = values.map((v, at) => `${x(at).toFixed(2)} ${(31 - (29 * (v - bottom)) / range).toFixed(2)}`);
    line.setAttribute("d", `M${points.join("L")}`);
    fill.setAttribute("d", `M${points.join("L")}L100 32L0 32Z`);
  };
  return box;
}

/** Time by phase, stacked, of the last two minutes. */
export function areas(height = 170) {
  let rows = [];
  let names = [];
  const element = canvas(height, "time by phase, the last two minutes", (c, width, tall) => {
    const floor = tall - 18;
    const sums = rows.map((row) => names.reduce((sum, name) => sum + (row[name] ?? 0), 0));
    const top = nice(Math.max(...sums, 0.002));
    c.font = "11px system-ui, sans-serif";
    c.fillStyle = css("--dim");
    c.strokeStyle = css("--line");
    c.lineWidth = 1;
    for (const part of [0, 0.5, 1]) {
      const y = Math.round(floor - (floor - 12) * part) + 0.5;
      c.beginPath();
      c.moveTo(0, y);
      c.lineTo(width, y);
      c.stroke();
      if (part) c.fillText(`${+(top * part * 100).toPrecision(2)} % of a core`, 2, y - 4);
    }
    const step = width / (MOST - 1);
    const x = (at) => width - (rows.length - 1 - at) * step;
    const y = (value) => floor - ((floor - 12) * value) / top;
    const base = rows.map(() => 0);
    for (const name of names) {
      c.beginPath();
      rows.forEach((row, at) => c.lineTo(x(at), y(base[at] + (row[name] ?? 0))));
      for (let at = rows.length - 1; at >= 0; at -= 1) c.lineTo(x(at), y(base[at]));
      c.closePath();
      c.fillStyle = `${colour(name)}cc`;
      c.fill();
      rows.forEach((row, at) => { base[at] += row[name] ?? 0; });
    }
    c.fillStyle = css("--dim");
    c.fillText("2 min ago", 2, tall - 4);
    c.textAlign = "right";
    c.fillText("now", width - 2, tall - 4);
    c.textAlign = "left";
  });
  element.show = (given, order) => {
    rows = given;
    names = order;
    element.redraw();
  };
  return element;
}

export const MOST = 120;

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10, 20].map((step) => step * power).find((step) => step >= value * 1.05) ?? value;
}

/**
 * The last second of a loop, to scale: where its ticks lay, of which phases they were made, and
 * how late they began (red). What is empty was free.
 */
export function lane() {
  let shown = { ticks: [], phases: [] };
  const element = canvas(34, "the last second", (c, width, tall) => {
    c.fillStyle = css("--well");
    c.beginPath();
    c.roundRect(0, 0, width, tall, 5);
    c.fill();
    c.strokeStyle = css("--line");
    for (let at = 1; at < 10; at += 1) {
      c.beginPath();
      c.moveTo(Math.round((width * at) / 10) + 0.5, tall - 5);
      c.lineTo(Math.round((width * at) / 10) + 0.5, tall);
      c.stroke();
    }
    const scale = width / 1000;
    for (const [began, late, parts] of shown.ticks) {
      if (late > 1) {
        c.fillStyle = css("--bad");
        c.globalAlpha = 0.55;
        c.fillRect((began - late) * scale, 4, late * scale, 3);
        c.globalAlpha = 1;
      }
      let x = began * scale;
      const least = 1.6 / parts.length;
      parts.forEach((took, at) => {
        const wide = Math.max(took * scale, least);
        c.fillStyle = colour(shown.phases[at] ?? "");
        c.fillRect(x, 8, wide + 0.4, tall - 13);
        x += wide;
      });
    }
  });
  element.show = (given) => {
    shown = given;
    element.redraw();
  };
  return element;
}

/** A tick's phases as one bar, the longest named in it. */
export function phases(parts, whole) {
  const sum = whole ?? parts.reduce((all, [, took]) => all + took, 0);
  const bar = h("div.phases");
  for (const [name, took] of parts) {
    const share = sum ? took / sum : 0;
    if (share < 0.002) continue;
    const part = h("span", { title: `${name}: ${ms(took)}` }, share > 0.14 ? `${name} ${ms(took)}` : "");
    part.style.setProperty("flex-grow", share);
    part.style.setProperty("--colour", colour(name));
    bar.append(part);
  }
  return bar;
}

export function legend(names) {
  return h("div.legend", {}, names.map((name) => {
    const mark = h("i");
    mark.style.setProperty("--colour", colour(name));
    return h("span", {}, mark, name);
  }));
}

/** A flame graph of `{name, value, children}`: click to zoom in, click the root to zoom out. */
export function flame(tree, unit) {
  const box = h("div.flame", { role: "group", "aria-label": "flame graph" });
  const draw = (root, path) => {
    box.replaceChildren();
    const rows = [];
    const visit = (node, depth, from, share) => {
      if (share < 0.003) return;
      (rows[depth] ??= []).push([node, from, share]);
      let at = from;
      for (const child of node.children) {
        const part = (share * child.value) / node.value;
        visit(child, depth + 1, at, part);
        at += part;
      }
    };
    path.forEach((node, depth) => (rows[depth] ??= []).push([node, 0, 1]));
    visit(root, path.length, 0, 1);
    for (const row of rows) {
      const line = h("div.flame-row");
      for (const [node, from, share] of row) {
        const took = `${(node.value * unit).toFixed(0)} ms`;
        const cell = h("button", { type: "button", title: `${node.name}\n${took}` }, node.name);
        cell.style.left = `${100 * from}%`;
        cell.style.width = `${100 * share}%`;
        cell.style.setProperty("--hue", hue(node.name));
        cell.onclick = () => {
          const above = path.indexOf(node);
          if (above >= 0) draw(node, path.slice(0, above));
          else draw(node, [...path, ...way(root, node)]);
        };
        line.append(cell);
      }
      box.append(line);
    }
  };
  draw(tree, []);
  return box;
}

/** The nodes from `root` down to `node`, which is left out. */
function way(root, node) {
  for (const child of root.children) {
    if (child === node) return [root];
    const below = way(child, node);
    if (below.length) return [root, ...below];
  }
  return [];
}

function hue(name) {
  let sum = 7;
  for (const letter of name) sum = (sum * 33 + letter.codePointAt(0)) % 997;
  return 8 + (sum % 46);
}
