/** A finished picture with what can be done with it. */

import { html, useState } from "../vendored/htm-preact.js";
import { addressOf } from "../core/blobs.js";
import { state } from "../core/state.js";
import { dateAndTime, optionLabel, sentence, t } from "../core/words.js";
import { Actions } from "./actions.js";
import { Emergence } from "./emergence.js";
import { Tile } from "./tile.js";

export function Picture({ record }) {
  const [watching, setWatching] = useState(false);
  const warnings = state.jobs.find((each) => each.id === record.job)?.warnings ?? [];
  const shape = { aspectRatio: `${record.width} / ${record.height}`, "--shape": record.width / record.height };
  return html`<figure class="work">
    ${
      watching || record.frames?.length
        ? html`<${Emergence} record=${record} shape=${shape} onEnd=${() => setWatching(false)} />`
        : html`<div class="canvas" style=${shape}><img src=${addressOf(record.blob)} alt=${record.order.title || record.order.prompt || t("picture")} /></div>`
    }
    <figcaption>
      <${Actions} record=${record} onWatch=${() => setWatching(true)} />
      ${warnings.map((each) => html`<p class="hint">${sentence(each)}</p>`)}
      <${Siblings} record=${record} />
      <${Facts} record=${record} />
    </figcaption>
  </figure>`;
}

/** The other pictures of the same job. */
function Siblings({ record }) {
  const all = state.history.filter((each) => each.job === record.job).sort((a, b) => a.index - b.index);
  if (all.length < 2) return null;
  return html`<div class="strip">${all.map((each) => html`<${Tile} record=${each} current=${each.id === record.id} />`)}</div>`;
}

function Facts({ record }) {
  const { order, seed, created } = record;
  const apart = ["prompt", "title", "task", "image", "mask", "control", "lora", "seed"];
  const facts = Object.entries(order).filter(([name, value]) => !apart.includes(name) && typeof value !== "object");
  return html`<details class="facts">
    <summary>${order.title || order.prompt || t("picture")}</summary>
    <dl>
      <div><dt>${t("made")}</dt><dd>${dateAndTime(created)}</dd></div>
      ${seed !== null && html`<div><dt>${t("seed")}</dt><dd>${seed}</dd></div>`}
      ${facts.map(([name, value]) => html`<div><dt>${optionLabel(name)}</dt><dd>${String(value)}</dd></div>`)}
      ${order.lora?.map((each) => html`<div><dt>LoRA</dt><dd>${each.name} ${each.strength}</dd></div>`)}
    </dl>
  </details>`;
}
