/** Several orders that belong together: variations, a strip of seeds, a grid over two options. One is placed after the other. */

import { makeCanvas, pngOf } from "./blobs.js";
import { told } from "./api.js";
import { paint } from "./painting.js";
import { recordOf } from "./history.js";
import { change, notify, state } from "./state.js";
import { optionLabel, t } from "./words.js";

const MOST = 64; // pictures in a grid
const SUBSEEDS = 2 ** 32;
const STRIP = 6;

/** Pictures near a record's: its seed's noise with a share of others mixed in. */
export function variationsOf(order, { share = 0.2, count = STRIP } = {}) {
  const first = Math.floor(Math.random() * SUBSEEDS);
  const cells = Array.from({ length: count }, (_, k) => {
    const subseed = (first + k) % SUBSEEDS;
    return { label: String(k + 1), order: { ...order, subseed, subseed_strength: share } };
  });
  return run({ title: t("variations"), rows: [""], columns: cells.map((each) => each.label), cells });
}

/** The same order with the seeds that follow. */
export function seedStrip(order, count = STRIP) {
  const first = Number(order.seed ?? 0);
  const cells = Array.from({ length: count }, (_, k) => {
    const seed = first + k + 1;
    return { label: `${t("seed")} ${seed}`, order: { ...order, seed } };
  });
  return run({ title: t("seedStrip"), rows: [""], columns: cells.map((each) => each.label), cells });
}

/** A grid: `across` and `down` are { name, values }; `down` may be null. */
export function grid(order, across, down) {
  const base = order.seed === undefined ? { ...order, seed: Math.floor(Math.random() * SUBSEEDS) } : order;
  const rows = down ? down.values : [null];
  if (rows.length * across.values.length > MOST) return notify(t("gridTooLarge", { most: MOST }), "error");
  const cells = rows.flatMap((low) =>
    across.values.map((high) => ({
      label: [`${optionLabel(across.name)} ${high}`, down ? `${optionLabel(down.name)} ${low}` : ""]
        .filter(Boolean)
        .join(", "),
      order: { ...base, count: 1, [across.name]: high, ...(down ? { [down.name]: low } : {}) },
    })),
  );
  return run({
    title: [across, down]
      .filter(Boolean)
      .map((each) => optionLabel(each.name))
      .join(" × "),
    across: optionLabel(across.name),
    down: down ? optionLabel(down.name) : "",
    columns: across.values.map(String),
    rows: rows.map((each) => (each === null ? "" : String(each))),
    cells,
  });
}

/** Paints what a series has no picture of, one after the other; also when it was stopped, or the server had gone. */
export async function run(series) {
  stopSeries();
  const stop = new AbortController(); // of this run alone: the one before may still be ending
  Object.assign(series, { stop, done: false, trouble: null });
  change({ series, shown: { kind: "series" } });
  for (const cell of series.cells) {
    if (recordOf(cell.record)) continue;
    try {
      const job = await paintInTurn(cell.order, stop.signal);
      cell.record = job?.records[0]?.id ?? cell.record;
      if (stop.signal.aborted) return;
      series.trouble = job.error?.message ?? null;
    } catch (error) {
      if (stop.signal.aborted) return;
      series.trouble = told(error);
    }
    change({});
    if (series.trouble) return notify(series.trouble, "error");
  }
  series.done = true;
  change({});
}

/** The job of an order, for which it waits while the server's queue is full; null where the series is stopped. */
async function paintInTurn(order, signal) {
  while (!signal.aborted) {
    try {
      return await paint(order, { quiet: true, signal });
    } catch (error) {
      if (error.code !== "queue_full") throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * (error.wait ?? 5)));
    }
  }
  return null;
}

export function stopSeries() {
  if (!state.series || state.series.done) return;
  state.series.stop.abort();
  change({});
}

/** "10, 20, 30" -> those; "10-30:10" -> the same; words stay words. */
export function valuesOf(text) {
  const span = text.match(/^\s*(-?[\d.]+)\s*-\s*([\d.]+)\s*:\s*([\d.]+)\s*$/);
  if (!span)
    return text
      .split(",")
      .map((each) => each.trim())
      .filter(Boolean)
      .map(typed);
  const [low, high, step] = span.slice(1).map(Number);
  if (!(step > 0) || high < low) return [];
  return Array.from(
    { length: Math.min(MOST + 1, Math.floor((high - low) / step + 1e-9) + 1) },
    (_, k) => +(low + k * step).toFixed(6),
  );
}

function typed(word) {
  if (word === "true" || word === "false") return word === "true";
  return word !== "" && Number.isFinite(Number(word)) ? Number(word) : word;
}

/** The pictures of a series side by side, as one PNG. */
export async function sheetOf(series) {
  const records = series.cells.map((cell) => recordOf(cell.record));
  const pictures = await Promise.all(records.map((each) => each && createImageBitmap(each.blob)));
  const [first] = pictures.filter(Boolean);
  const columns = series.columns.length;
  const canvas = makeCanvas(columns * first.width, Math.ceil(pictures.length / columns) * first.height);
  const context = canvas.getContext("2d");
  for (const [k, picture] of pictures.entries()) {
    if (picture) context.drawImage(picture, (k % columns) * first.width, Math.floor(k / columns) * first.height);
  }
  return pngOf(canvas);
}
