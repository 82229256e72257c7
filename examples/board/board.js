import { $, ask, colourOf, enter, make } from "/shared/page.js";

const [WIDTH, HEIGHT] = [1250, 1000];
const room = await enter("board");
const canvas = Object.assign($("canvas"), { width: 2 * WIDTH, height: 2 * HEIGHT });
const pen = canvas.getContext("2d");
const pens = [...document.querySelectorAll(".pen")];
let [colour, last, late] = [0, null, 0];

function draw([, ink, points]) {
  pen.setTransform(2, 0, 0, 2, 0, 0);
  Object.assign(pen, { lineWidth: 5, lineCap: "round", lineJoin: "round" });
  pen.strokeStyle = getComputedStyle(canvas).getPropertyValue(`--ink-${ink}`);
  pen.stroke(new Path2D(`M${points.map(String).join("L")}z`.replace(/z$/, points[1] ? "" : "z")));
}

function redraw() {
  canvas.width = canvas.width; // clears it
  room.state.parts.forEach(draw);
}
