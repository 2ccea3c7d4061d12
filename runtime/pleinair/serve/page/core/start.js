/**
 * The picture that painting starts from: { base, strokes, undone, sides, image, mask }.
 * `base` is a canvas; what is drawn over it are strokes, so that each can be undone; `image` and `mask` are the blobs
 * that both make, which an order takes.
 */

import { canvasOf, makeCanvas, pngOf } from "./blobs.js";
import { sizeAtHand } from "./sizes.js";
import { change, notify, setValue, state } from "./state.js";
import { t } from "./words.js";
import { drawMask, drawSketch, standing } from "../editor/strokes.js";

const OF_SKETCHES = 0.65; // strength at which blobs of colour keep their shape, and become things

/** A start made of a picture, and a mask that it came with. */
export async function startFrom(blob, { mask = null, sides = null } = {}) {
  const base = await canvasOf(blob);
  const given = mask ? await canvasOf(mask) : null;
  return { base, given, strokes: [], undone: [], sides: sides ?? [0, 0, 0, 0], image: await pngOf(base), mask };
}

/** Takes a file for the start, or says that it is no picture. */
export async function useAsStart(blob, editing = false) {
  try {
    change({ start: await startFrom(blob) });
    if (editing) change({ shown: { kind: "editor" } });
  } catch {
    notify(t("noPicture"), "error");
  }
}

/** A white canvas of the size that is painted now, for a sketch. */
export function startBlank() {
  const [width, height] = sizeAtHand();
  const base = makeCanvas(width, height);
  const context = base.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  const start = { base, given: null, strokes: [], undone: [], sides: [0, 0, 0, 0], image: null, mask: null };
  if (state.values.strength === undefined) setValue("strength", OF_SKETCHES);
  change({ start, shown: { kind: "editor", mode: "sketch" } });
  return renew(start);
}

/** Makes the blobs of a start anew, after something was drawn; `start.renewed` is when both are there. */
export function renew(start) {
  start.renewed = remake(start);
  return start.renewed;
}

async function remake(start) {
  const sketch = makeCanvas(start.base.width, start.base.height);
  drawSketch(sketch.getContext("2d"), start);
  const masked = isMarked(start) && !start.sides.some(Boolean); // both in one go are not painted
  const mask = makeCanvas(start.base.width, start.base.height);
  if (masked) drawMask(mask.getContext("2d"), start);
  start.image = await pngOf(sketch);
  start.mask = masked ? await pngOf(mask) : null;
  change({});
}

export function isMarked(start) {
  const { given, strokes } = standing(start);
  return Boolean(given) || strokes.some((each) => each.layer === "mask");
}

export function withoutStart() {
  change({ start: null, shown: state.shown?.kind === "editor" ? null : state.shown });
}
