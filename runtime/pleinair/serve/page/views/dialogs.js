/** The dialog that is open: keys, the camera, text to copy. */

import { html, useEffect, useRef } from "../vendored/htm-preact.js";
import { save } from "../core/blobs.js";
import { change, state } from "../core/state.js";
import { t } from "../core/words.js";
import { Camera } from "./camera.js";
import { Icon } from "./icons.js";
import { KEYS } from "./keys.js";

const NAMED = ["ctrl", "del"]; // keys whose names are words

const close = () => change({ dialog: null });

export function Dialogs() {
  if (state.dialog === "keys") return html`<${Dialog} title=${t("keys")} onClose=${close}><${Keys} /><//>`;
  if (state.dialog === "camera")
    return html`<${Dialog} title=${t("camera")} onClose=${close}><${Camera} onTaken=${close} /><//>`;
  if (state.dialog === "text")
    return html`<${Dialog} title=${t(state.text.copied ? "copied" : "copyByHand")} onClose=${close}><${Copied} ...${state.text} /><//>`;
  return null;
}

function Dialog({ title, onClose, children }) {
  const dialog = useRef();
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  return html`<dialog ref=${dialog} aria-labelledby="dialog-title" onClose=${onClose}>
    <div class="line">
      <h2 id="dialog-title">${title}</h2>
      <button type="button" class="round" aria-label=${t("close")} onClick=${() => dialog.current.close()}><${Icon} name="close" /></button>
    </div>
    ${children}
  </dialog>`;
}

function Copied({ text, files }) {
  return html`<textarea rows="8" readonly aria-label=${t("copyByHand")} value=${text} onFocus=${(event) => event.target.select()} />
    ${files.length > 0 && html`<p class="hint">${t("copiedFiles")}</p>`}
    <div class="line">
      ${files.map(({ name, blob }) => html`<button type="button" onClick=${() => save(blob, name)}><${Icon} name="down" />${name}</button>`)}
    </div>`;
}

function Keys() {
  return html`<p class="hint">${t("keysHint")}</p>
    <dl class="keys">${KEYS.map(({ keys, means }) => html`<div><dt>${keys.split(" ").map((each) => html`<kbd>${NAMED.includes(each) ? t(each) : each}</kbd>`)}</dt><dd>${t(means)}</dd></div>`)}</dl>`;
}
