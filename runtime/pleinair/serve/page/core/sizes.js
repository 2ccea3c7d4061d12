/** Sizes that a model paints well, and the one at hand. */

import { modelAtHand, state } from "./state.js";

const SHAPES = [
  [1, 1],
  [3, 2],
  [2, 3],
  [16, 9],
  [9, 16],
];
const LARGE = 512; // pixels, from which on sides are multiples of 64, as models are trained

/** [width, height] of the size that is painted now. */
export function sizeAtHand() {
  const usual = modelAtHand()?.defaults ?? {};
  const { width, height } = state.values;
  return [width ?? usual.width ?? 512, height ?? usual.height ?? 512].map(Number);
}

/** [width, height] of what an order paints: its size, else the shape of the picture it starts from, else the usual. */
export function shapeOf({ width, height, image }) {
  if (width && height) return [width, height];
  if (!image || !state.start) return sizeAtHand();
  const { base, sides } = state.start;
  return [base.width + sides[0] + sides[2], base.height + sides[1] + sides[3]];
}

/** Sizes with about as many pixels as the model's usual one, and squares as small and as large as it knows. */
export function sizesOf({ defaults, sizes }) {
  const { multiple = 8, smallest, largest } = sizes ?? {};
  const step = Math.max(multiple, Math.min(defaults.width, defaults.height) >= LARGE ? 64 : 16);
  const near = (side) => Math.max(step, Math.round(side / step) * step);
  const pixels = defaults.width * defaults.height;
  const known = SHAPES.map(([w, h]) => [near(Math.sqrt((pixels * w) / h)), near(Math.sqrt((pixels * h) / w))]);
  const square = largest && Math.floor(largest / step) * step;
  const all = [[defaults.width, defaults.height], ...known, ...(square ? [[square, square]] : [])];
  const fits = (side) => side >= (smallest ?? 0) && side <= (largest ?? Infinity);
  return unique(all).filter(([w, h], k) => k === 0 || (fits(w) && fits(h)));
}

function unique(sizes) {
  return [...new Map(sizes.map((each) => [each.join("x"), each])).values()];
}
