/** The editor's canvas: what it shows, and where on the picture a pointer is. */

import { drawSketch, maskLayer } from "./strokes.js";

const MASKED = "rgb(226 76 60)";

/** Draws a start with its mask as a veil, what is to be added around it, and the keyboard's brush. */
export function drawView(canvas, start, cursor) {
  const [left, top, right, bottom] = start.sides;
  const { width, height } = start.base;
  canvas.width = width + left + right;
  canvas.height = height + top + bottom;
  const context = canvas.getContext("2d");
  hatch(context, canvas);
  context.translate(left, top);
  drawSketch(context, start);
  context.globalAlpha = 0.55;
  context.drawImage(maskLayer(start, MASKED), 0, 0);
  context.globalAlpha = 1;
  if (cursor) ring(context, cursor);
}

/** Stripes where outpainting adds. */
function hatch(context, { width, height }) {
  context.fillStyle = "#f3d9d2";
  context.fillRect(0, 0, width, height);
  context.strokeStyle = MASKED;
  context.globalAlpha = 0.35;
  context.lineWidth = 2;
  context.beginPath();
  for (let x = -height; x < width; x += 16) {
    context.moveTo(x, height);
    context.lineTo(x + height, 0);
  }
  context.stroke();
  context.globalAlpha = 1;
}

function ring(context, { x, y, size }) {
  for (const [colour, width] of [
    ["#fff", 4],
    ["#000", 2],
  ]) {
    Object.assign(context, { strokeStyle: colour, lineWidth: width });
    context.beginPath();
    context.arc(x, y, size / 2, 0, 2 * Math.PI);
    context.stroke();
  }
}

/** The pixel of the picture below a pointer. */
export function pixelAt(canvas, start, { clientX, clientY }) {
  const box = canvas.getBoundingClientRect();
  const scale = canvas.width / box.width;
  return [(clientX - box.left) * scale - start.sides[0], (clientY - box.top) * scale - start.sides[1]];
}

/** Where on the canvas a place of the window is: its shares of width and height, and the place itself. */
export function placeOf(canvas, [x, y]) {
  const box = canvas.getBoundingClientRect();
  return { across: (x - box.left) / box.width, down: (y - box.top) / box.height, x, y };
}

/** Scrolls what is around the canvas until that place of it is there again. */
export function putBack(canvas, { across, down, x, y }) {
  const box = canvas.getBoundingClientRect();
  canvas.parentElement.scrollBy(box.left + across * box.width - x, box.top + down * box.height - y);
}

/** The middle of what is seen of an element. */
export function middleOf(element) {
  const box = element.getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2];
}
