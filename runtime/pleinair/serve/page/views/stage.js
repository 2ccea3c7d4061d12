/** The large place for what is looked at now: a job, a picture, a series, two pictures, or the editor. */

import { html, useEffect, useRef } from "../vendored/htm-preact.js";
import { Editor } from "../editor/editor.js";
import { recordOf } from "../core/history.js";
import { state } from "../core/state.js";
import { t } from "../core/words.js";
import { Compare } from "./compare.js";
import { Job } from "./job.js";
import { Picture } from "./picture.js";
import { Sheet } from "./sheet.js";
import { stageKeys } from "./keys.js";

export function Stage() {
  const stage = useRef();
  const { kind, id } = state.shown ?? {};
  useEffect(() => {
    const { top } = stage.current.getBoundingClientRect();
    if (kind && document.activeElement === document.body) stage.current.focus({ preventScroll: true }); // what had it went
    if (kind && (top < 0 || top > window.innerHeight / 2)) stage.current.scrollIntoView({ block: "start" });
  }, [kind, id]);
  return html`<section class="stage" id="stage" ref=${stage} tabindex="-1" aria-label=${t("stage")} onKeyDown=${stageKeys}>
    <${Shown} />
  </section>`;
}

function Shown() {
  const { shown } = state;
  if (shown?.kind === "editor" && state.start) return html`<${Editor} start=${state.start} mode=${shown.mode} />`;
  if (shown?.kind === "series" && state.series) return html`<${Sheet} series=${state.series} />`;
  if (shown?.kind === "compare")
    return html`<${Compare} left=${recordOf(shown.left)} right=${recordOf(shown.right)} />`;
  const job = shown?.kind === "job" && state.jobs.find((each) => each.id === shown.id);
  if (job) return html`<${Job} job=${job} />`;
  const record = shown?.kind === "record" && recordOf(shown.id);
  if (record) return html`<${Picture} key=${record.id} record=${record} />`;
  return html`<div class="empty">
    <svg class="easel" viewBox="0 0 120 120" aria-hidden="true">
      <path class="frame" d="M22 18h76v58H22z" />
      <circle class="sun" cx="76" cy="36" r="8" />
      <path class="hill" d="M26 72 48 44l16 18 10-10 20 20z" />
      <path class="legs" d="M14 78h92M44 78 30 112M76 78l14 34M60 78v26M60 8v10" />
    </svg>
    <p>${t("empty")}</p>
    <p class="hint">${t("emptyHint")}</p>
  </div>`;
}
