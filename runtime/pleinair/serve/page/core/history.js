/** The pictures made in this browser, kept in IndexedDB with the orders that made them. */

import { bytesOf, canvasOf, pngOf, withBlobs, withoutBlobs } from "./blobs.js";
import { change, notify, state } from "./state.js";
import { t } from "./words.js";

const DATABASE = "pleinair";
const STORE = "pictures";
const THUMBNAIL = 256; // pixels

let database = null;

/** Opens the store and shows what is in it; without one, pictures are kept while the page is open. */
export async function openHistory() {
  try {
    database = await promised(opening());
    const records = await promised(store("readonly").getAll());
    change({ history: records.map(withBlobs).sort((a, b) => b.created - a.created || b.index - a.index) });
  } catch {
    notify(t("noHistory"), "error");
  }
}

function opening() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
  return request;
}

function store(mode) {
  return database.transaction(STORE, mode).objectStore(STORE);
}

function promised(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** A new record of a picture, which is kept. */
export async function keepRecord({ job, index = 0, seed = null, blob, order, previews = [], frames = [] }) {
  const small = await thumbnail(blob);
  const record = {
    id: `${job}-${index}`,
    created: Date.now(),
    job,
    index,
    seed,
    blob,
    order,
    previews,
    frames,
    ...small,
  };
  const others = state.history.filter((each) => each.id !== record.id);
  change({ history: [record, ...others] });
  await attempt(() => put(record));
  return record;
}

/** Keeps a record; as bytes where the browser keeps no blobs, as Safari in private windows. */
async function put(record) {
  try {
    await promised(store("readwrite").put(record));
  } catch {
    const plain = await withoutBlobs(record, bytesOf);
    await promised(store("readwrite").put(plain));
  }
}

async function thumbnail(blob) {
  const picture = await createImageBitmap(blob);
  const { width, height } = picture;
  picture.close();
  return { thumbnail: await pngOf(await canvasOf(blob, THUMBNAIL)), width, height };
}

export async function removeRecord(id) {
  change({
    history: state.history.filter((each) => each.id !== id),
    shown: state.shown?.id === id ? null : state.shown,
    pinned: state.pinned === id ? null : state.pinned,
  });
  await attempt(() => promised(store("readwrite").delete(id)));
}

export async function clearHistory() {
  const shown = state.shown?.kind === "record" || state.shown?.kind === "compare" ? null : state.shown;
  change({ history: [], pinned: null, shown });
  await attempt(() => promised(store("readwrite").clear()));
}

async function attempt(action) {
  if (!database) return;
  try {
    await action();
  } catch {
    notify(t("historyFull"), "error");
  }
}

export function recordOf(id) {
  return state.history.find((each) => each.id === id);
}
