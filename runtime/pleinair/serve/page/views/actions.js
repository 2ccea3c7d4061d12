/** What can be done with a picture. */

import { html, useState } from "../vendored/htm-preact.js";
import { told } from "../core/api.js";
import { fileName, save } from "../core/blobs.js";
import { asCommand, asPython, filesOf } from "../core/copying.js";
import { adoptOrder, orderOf } from "../core/order.js";
import { paint } from "../core/painting.js";
import { removeRecord } from "../core/history.js";
import { seedStrip, variationsOf } from "../core/series.js";
import { useAsStart } from "../core/start.js";
import { change, notify, state } from "../core/state.js";
import { t } from "../core/words.js";
import { Icon } from "./icons.js";

export function Actions({ record, onWatch }) {
  const picture = !record.frames?.length; // else a film, which its player saves
  const order = orderOf(record);
  const still = record.order.task === "generate" || record.order.task === undefined;
  return html`<div class="actions" role="group" aria-label=${t("actions")}>
    ${picture && html`<${Action} icon="down" label="download" main onClick=${() => download(record)} />`}
    ${still && html`<${Action} icon="wand" label="moreLikeThis" onClick=${() => variationsOf(order)} />`}
    ${still && html`<${Action} icon="seeds" label="seedStrip" onClick=${() => seedStrip(order)} />`}
    ${picture && html`<${Action} icon="brush" label="edit" onClick=${() => useAsStart(record.blob, true)} />`}
    ${picture && html`<${Action} icon="compare" label=${state.pinned === record.id ? "comparing" : "compare"} pressed=${state.pinned === record.id} onClick=${() => pin(record)} />`}
    <details class="further">
      <summary>${t("further")}</summary>
    ${picture && html`<${Enlarge} record=${record} />`}
    ${picture && record.previews?.length > 1 && html`<${Action} icon="play" label="watch" onClick=${onWatch} />`}
    ${still && html`<${Action} icon="undo" label="restore" onClick=${() => restored(record)} />`}
    ${still && html`<${Action} icon="copy" label="copyCommand" onClick=${() => copy(asCommand(order), filesOf(order))} />`}
    ${still && html`<${Action} icon="copy" label="copyPython" onClick=${() => copy(asPython(order), filesOf(order))} />`}
    <${Action} icon="trash" label="remove" onClick=${() => removeRecord(record.id)} />
    </details>
  </div>`;
}

function Enlarge({ record }) {
  const [chosen, setChosen] = useState(null);
  const upscalers = state.server?.upscalers ?? [];
  if (!state.server?.tasks?.includes("upscale") || !upscalers.length) return null;
  const { name } = upscalers.find((each) => each.name === chosen) ?? upscalers[0];
  return html`${
    upscalers.length > 1 &&
    html`<select class="bare" aria-label=${t("upscalerChoice")} value=${name} onChange=${(event) => setChosen(event.target.value)}>
      ${upscalers.map((each) => html`<option value=${each.name}>${upscalerLabel(each)}</option>`)}
    </select>`
  }
  <${Action} icon="enlarge" label="upscale" onClick=${() => upscale(record, name)} />`;
}

/** "name 4×". */
export function upscalerLabel({ name, scale }) {
  return scale ? `${name} ${scale}×` : name;
}

function Action({ icon, label, main, pressed, onClick }) {
  return html`<button type="button" class=${main ? "main" : "quiet"} aria-pressed=${pressed} onClick=${onClick}><${Icon} name=${icon} />${t(label)}</button>`;
}

export function download(record) {
  save(record.blob, `${fileName(record)}.${record.blob.type.split("/")[1].replace("jpeg", "jpg")}`);
}

export function pin(record) {
  const pinned = state.pinned === record.id ? null : record.id;
  change({ pinned });
  if (pinned) notify(t("pickOther"));
}

async function restored(record) {
  await adoptOrder(orderOf(record));
  notify(t("restoredHere"));
}

async function upscale(record, name) {
  try {
    await paint({ task: "upscale", upscale: name, image: record.blob, title: record.order.title ?? record.order.prompt });
  } catch (error) {
    notify(told(error), "error");
  }
}

/** Into the clipboard; a dialog shows the text where the browser forbids that, or where it names `files` to save. */
async function copy(text, files) {
  const copied = await navigator.clipboard?.writeText(text).then(
    () => true,
    () => false,
  );
  if (copied && !files.length) notify(t("copied"));
  else change({ dialog: "text", text: { text, files, copied } });
}
