/** The state of the page. All parts read it; `change` is the one way to write it, and draws the page again. */

export const state = {
  server: null, // its answer to /capabilities
  reachable: true,
  model: null, // name of the chosen model
  values: {}, // option -> value, of what the user has set
  loras: [], // { name, strength }
  controls: [], // { name, image: Blob, preprocessor, strength, start, end }
  start: null, // the picture that painting starts from: see core/start.js
  jobs: [], // see core/painting.js
  series: null, // see core/series.js
  history: [], // records of pictures, the newest first: see core/history.js
  shown: null, // { kind: "job" | "record" | "series" | "compare" | "editor", ... }
  pinned: null, // id of the record that another one will be compared with
  dialog: null, // name of the open dialog
  text: null, // { text, files, copied } of the dialog with text to copy
  notices: [], // { id, kind: "error" | "info", text }
  said: "", // what a screen reader is told
  tokens: null, // the server's answer to /tokens
};

/** Options that name something which lies on a shelf of the server. */
export const SHELVES = {
  vae: "vaes",
  preview_vae: "vaes",
  upscale: "upscalers",
  refiner: "models",
  enlarger: "upscalers",
  embeddings: "embeddings",
};

const listeners = new Set();
let waiting = false;

export function subscribe(listener) {
  listeners.add(listener);
}

export function change(parts) {
  Object.assign(state, parts);
  if (waiting) return;
  waiting = true;
  setTimeout(() => {
    waiting = false;
    for (const listener of listeners) listener();
  });
}

export function setValue(name, value) {
  const values = { ...state.values };
  if (value === undefined || value === "" || value === null) delete values[name];
  else values[name] = value;
  change({ values });
}

export function modelAtHand() {
  const models = state.server?.models ?? [];
  return models.find((each) => each.name === state.model) ?? models.find((each) => each.default) ?? models[0];
}

/** What lies on a shelf of the server, such as its LoRAs, and fits the model at hand, as far as that is known. */
export function fitting(shelf) {
  const name = modelAtHand()?.name;
  return (state.server?.[shelf] ?? []).filter(({ fits }) => !fits || fits.includes(name));
}

let numbered = 0;

/** Tells the user something; errors stay until they are put away. */
export function notify(text, kind = "info") {
  const notice = { id: ++numbered, kind, text };
  change({ notices: [...state.notices.filter((each) => each.text !== text), notice].slice(-4) });
  if (kind === "info") setTimeout(() => dismiss(notice.id), 6000);
}

export function dismiss(id) {
  change({ notices: state.notices.filter((each) => each.id !== id) });
}
