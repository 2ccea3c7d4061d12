/** Two pictures on top of each other, with a line that uncovers one or the other. */

import { html, useState } from "../vendored/htm-preact.js";
import { addressOf } from "../core/blobs.js";
import { change } from "../core/state.js";
import { t } from "../core/words.js";
import { differences } from "../core/differences.js";

export function Compare({ left, right }) {
  const [share, setShare] = useState(50);
  const close = () => change({ pinned: null, shown: right ? { kind: "record", id: right.id } : null });
  if (!left || !right) return html`<p class="empty">${t("gone")}</p>`;
  const shape = {
    aspectRatio: `${right.width} / ${right.height}`,
    "--shape": right.width / right.height,
    "--share": `${share}%`,
  };
  return html`<figure class="work">
    <div class="canvas compare" style=${shape}>
      <img src=${addressOf(right.blob)} alt=${t("right")} />
      <img class="over" src=${addressOf(left.blob)} alt=${t("left")} />
      <input type="range" aria-label=${t("divide")} min="0" max="100" value=${share} onInput=${(event) => setShare(event.target.valueAsNumber)} />
    </div>
    <figcaption>
      <div class="line">
        <p class="hint">${t("compareHint")}</p>
        <button type="button" class="quiet" onClick=${close}>${t("close")}</button>
      </div>
      <${Differences} left=${left} right=${right} />
    </figcaption>
  </figure>`;
}

function Differences({ left, right }) {
  const rows = differences(left, right);
  if (!rows.length) return html`<p class="hint">${t("same")}</p>`;
  return html`<table class="differences">
    <thead><tr><td></td><th scope="col">${t("left")}</th><th scope="col">${t("right")}</th></tr></thead>
    <tbody>${rows.map((row) => html`<tr><th scope="row">${row.label}</th><td>${row.left}</td><td>${row.right}</td></tr>`)}</tbody>
  </table>`;
}
