/** The pictures made in this browser, the newest first. */

import { html, useRef, useState } from "../vendored/htm-preact.js";
import { clearHistory } from "../core/history.js";
import { isOver } from "../core/following.js";
import { restoreFrom } from "../core/restoring.js";
import { change, state } from "../core/state.js";
import { t } from "../core/words.js";
import { Tile } from "./tile.js";

const FIRST = 60; // pictures shown before the user asks for more

export function Shelf() {
  const [most, setMost] = useState(FIRST);
  const file = useRef();
  const { history, shown } = state;
  const chosen = (event) => {
    const [picked] = event.target.files;
    event.target.value = "";
    if (picked) restoreFrom(picked);
  };
  return html`<section class="shelf" aria-label=${t("history")}>
    <div class="line">
      <h2>${t("history")}</h2>
      <button type="button" class="quiet" onClick=${() => file.current.click()}>${t("restoreFile")}</button>
      <input type="file" hidden ref=${file} accept="image/png,image/jpeg,image/webp" onChange=${chosen} />
      ${history.length > 0 && html`<button type="button" class="quiet" onClick=${() => window.confirm(t("clearSure")) && clearHistory()}>${t("clear")}</button>`}
    </div>
    <div class="tiles">
      ${state.jobs.filter((each) => !each.quiet && !isOver(each)).map((job) => html`<${Running} key=${job.id} job=${job} />`)}
      ${history.slice(0, most).map((each) => html`<${Tile} key=${each.id} record=${each} current=${shown?.id === each.id} />`)}
    </div>
    ${!history.length && html`<p class="hint">${t("noPictures")}</p>`}
    ${history.length > most && html`<button type="button" class="quiet" onClick=${() => setMost(most + FIRST)}>${t("more")}</button>`}
  </section>`;
}

function Running({ job }) {
  const name = `${t("emerging")}: ${job.order.prompt ?? ""}`;
  return html`<button type="button" class="tile blank now" aria-label=${name} onClick=${() => change({ shown: { kind: "job", id: job.id } })}>
    ${job.preview && html`<img src=${job.preview} alt="" />`}
  </button>`;
}
