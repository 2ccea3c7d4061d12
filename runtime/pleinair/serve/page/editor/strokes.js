/**
 * What is drawn over a start picture, as strokes: { layer: "mask" | "sketch", tool: "brush" | "eraser", colour, size,
 * points: [[x, y], ...] } in the picture's pixels; { tool: "clear" } takes away all before it, until it is undone.
 */

import { makeCanvas } from "../core/blobs.js";

/** The picture with the sketch over it. */
export function drawSketch(context, start) {
  context.drawImage(start.base, 0, 0);
  context.drawImage(layerOf(start, "sketch"), 0, 0);
}

/** The mask: white is repainted. */
export function drawMask(context, start) {
  const { width, height } = start.base;
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  context.drawImage(maskLayer(start), 0, 0);
}

/** The mask as colour on nothing, to be laid over the picture. */
export function maskLayer(start, colour = "#fff") {
  const layer = layerOf(start, "mask");
  const context = layer.getContext("2d");
  context.globalCompositeOperation = "source-in";
  context.fillStyle = colour;
  context.fillRect(0, 0, layer.width, layer.height);
  return layer;
}

/** What has not been taken away: the mask that came with the picture, and strokes. */
export function standing({ given, strokes }) {
  const cleared = strokes.findLastIndex((each) => each.tool === "clear");
  return { given: cleared < 0 ? given : null, strokes: strokes.slice(cleared + 1) };
}

/** All strokes of a layer on a canvas of the picture's size. */
function layerOf(start, layer) {
  const canvas = makeCanvas(start.base.width, start.base.height);
  const context = canvas.getContext("2d");
  const { given, strokes } = standing(start);
  if (layer === "mask" && given) drawGiven(context, given);
  for (const stroke of strokes) if (stroke.layer === layer) drawStroke(context, stroke);
  return canvas;
}

/** A mask that came with the picture: what is white there becomes opaque. */
function drawGiven(context, given) {
  const { width, height } = context.canvas;
  context.drawImage(given, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height);
  for (let k = 0; k < pixels.data.length; k += 4) pixels.data[k + 3] = pixels.data[k];
  context.putImageData(pixels, 0, 0);
}

function drawStroke(context, { tool, colour, size, points }) {
  context.globalCompositeOperation = tool === "eraser" ? "destination-out" : "source-over";
  Object.assign(context, { strokeStyle: colour, lineWidth: size, lineCap: "round", lineJoin: "round" });
  context.beginPath();
  const [[x, y], ...others] = points;
  context.moveTo(x, y);
  if (!others.length) context.lineTo(x + 0.01, y); // a line of no length would draw no dot
  for (const [nextX, nextY] of others) context.lineTo(nextX, nextY);
  context.stroke();
}
