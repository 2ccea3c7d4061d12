/** Keys that work while the stage has the focus, and those that work everywhere. */

import { removeRecord, recordOf } from "../core/history.js";
import { orderOf } from "../core/order.js";
import { variationsOf } from "../core/series.js";
import { useAsStart } from "../core/start.js";
import { change, state } from "../core/state.js";
import { download, pin } from "./actions.js";

export const KEYS = [
  { keys: "ctrl Enter", means: "keyPaint" },
  { keys: "← →", means: "keyBrowse" },
  { keys: "D", means: "download" },
  { keys: "V", means: "moreLikeThis" },
  { keys: "E", means: "edit" },
  { keys: "C", means: "compare" },
  { keys: "del", means: "remove" },
  { keys: "ctrl Z", means: "keyUndo" },
  { keys: "+ − 0", means: "keyZoom" },
];

const OF_PICTURE = {
  d: download,
  v: (record) => variationsOf(orderOf(record)),
  e: (record) => useAsStart(record.blob, true),
  c: pin,
  delete: (record) => removeRecord(record.id),
};

export function stageKeys(event) {
  const typing = event.target.closest("input, textarea, select, canvas");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  const record = state.shown?.kind === "record" && recordOf(state.shown.id);
  if (key === "arrowleft" || key === "arrowright") browse(key === "arrowright" ? 1 : -1);
  else if (record && OF_PICTURE[key]) OF_PICTURE[key](record);
  else return;
  event.preventDefault();
}

function browse(by) {
  const { history, shown } = state;
  const at = history.findIndex((each) => each.id === shown?.id);
  const next = history[Math.max(0, Math.min(history.length - 1, at + by))];
  if (next) change({ shown: { kind: "record", id: next.id } });
}
