/** A small picture that shows the large one. */

import { html } from "../vendored/htm-preact.js";
import { addressOf } from "../core/blobs.js";
import { change, state } from "../core/state.js";
import { t } from "../core/words.js";
import { Icon } from "./icons.js";

export function Tile({ record, current }) {
  const name = record.order.title || record.order.prompt || t("picture");
  return html`<button
    type="button"
    class="tile"
    aria-pressed=${current}
    aria-label=${`${name}${record.seed === null ? "" : `, ${t("seed")} ${record.seed}`}`}
    title=${name}
    onClick=${() => choose(record)}
  >
    <img src=${addressOf(record.thumbnail)} alt="" loading="lazy" />
    ${record.frames?.length > 0 && html`<${Icon} name="film" />`}
  </button>`;
}

/** Shows a picture, or, where one is pinned, both side by side. */
function choose(record) {
  const { pinned } = state;
  const two = pinned && pinned !== record.id;
  change({ shown: two ? { kind: "compare", left: pinned, right: record.id } : { kind: "record", id: record.id } });
}
