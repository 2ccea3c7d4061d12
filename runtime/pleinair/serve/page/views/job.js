/** A job on the stage: the picture as it emerges, how far it is, and what went wrong. */

import { html } from "../vendored/htm-preact.js";
import { told } from "../core/api.js";
import { adoptOrder } from "../core/order.js";
import { isOver } from "../core/following.js";
import { cancel, paint, putAway } from "../core/painting.js";
import { notify } from "../core/state.js";
import { shapeOf } from "../core/sizes.js";
import { duration, sentence, t } from "../core/words.js";

const LONG = 60; // seconds of waiting that deserve a word of their own

export function Job({ job }) {
  const [width, height] = shapeOf(job.order);
  const waiting = !job.preview && !isOver(job);
  return html`<figure class="work">
    <div class=${`canvas emerging ${waiting ? "waiting" : ""}`} style=${{ aspectRatio: `${width} / ${height}`, "--shape": width / height }}>
      ${job.preview && html`<img src=${job.preview} alt=${t("emerging")} class=${isOver(job) ? "rough" : "rough moving"} />`}
    </div>
    ${isOver(job) ? html`<${Ended} job=${job} />` : html`<${Progress} job=${job} />`}
  </figure>`;
}

function Progress({ job }) {
  const { step = 0, steps = 0 } = job;
  return html`<figcaption class="progress">
    <progress aria-label=${t("progress")} max=${steps || 1} value=${job.status === "painting" ? step : undefined}></progress>
    <div class="line">
      <p role=${job.status === "painting" ? undefined : "status"}>${progressWords(job)}</p>
      <button type="button" class="stop" disabled=${job.cancelling} onClick=${() => cancel(job)}>${job.cancelling ? t("cancelling") : t("cancel")}</button>
    </div>
    ${job.wait > LONG && job.status === "queued" && html`<p class="hint">${t("longQueue")}</p>`}
    ${job.warnings.map((each) => html`<p class="hint">${sentence(each)}</p>`)}
  </figcaption>`;
}

function progressWords({ status, step, steps, eta, position, wait }) {
  if (status === "loading") return t("loading");
  if (status === "painting") return t(eta > 0 ? "stepLeft" : "step", { step, steps, left: duration(eta ?? 0) });
  if (position > 0) return t(wait ? "placeWait" : "place", { position, wait: duration(wait ?? 0) });
  return t("starting");
}

function Ended({ job }) {
  const again = async () => {
    putAway(job);
    await paint(job.order).catch((error) => notify(told(error), "error"));
  };
  const message = job.status === "cancelled" ? t("cancelled") : job.error ? sentence(job.error.message) : t("doneBare");
  return html`<figcaption class=${`ended ${job.status}`} role=${job.status === "cancelled" ? "status" : "alert"}>
    <p>${message}</p>
    <div class="line">
      <button type="button" onClick=${again}>${t("again")}</button>
      ${job.order.task === "generate" && html`<button type="button" class="quiet" onClick=${() => adoptOrder(job.order)}>${t("restore")}</button>`}
      <button type="button" class="quiet" onClick=${() => putAway(job)}>${t("close")}</button>
    </div>
  </figcaption>`;
}
