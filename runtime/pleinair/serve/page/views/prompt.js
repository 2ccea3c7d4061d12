/** What to paint, and the button. */

import { html, useEffect, useState } from "../vendored/htm-preact.js";
import { currentOrder } from "../core/order.js";
import { cancel, isOver, paint } from "../core/painting.js";
import { countTokens } from "../core/tokens.js";
import { change, modelAtHand, notify, setValue, state } from "../core/state.js";
import { optionLabel, t } from "../core/words.js";
import { Format } from "./format.js";

export function Prompt() {
  const { prompt = "", negative = "" } = state.values;
  const model = modelAtHand();
  useEffect(() => countTokens(model?.name, prompt), [model?.name, prompt]);
  return html`<form class="card prompt" onSubmit=${submitted} onKeyDown=${paintsOnEnter}>
    <${Model} />
    <label class="field"
      ><span>${t("prompt")}</span>
      <textarea
        id="prompt"
        rows="4"
        maxlength=${state.server?.limits?.prompt_chars}
        placeholder=${t("promptExample")}
        value=${prompt}
        onInput=${(event) => setValue("prompt", event.target.value)}
        aria-describedby="tokens"
      ></textarea>
    </label>
    <${Tokens} />
    <label class="field"
      ><span>${t("negative")}</span>
      <textarea rows="1" class="low" value=${negative} onInput=${(event) => setValue("negative", event.target.value)} />
    </label>
    <${Format} />
    <${PaintButton} />
  </form>`;
}

function Model() {
  const models = state.server?.models ?? [];
  if (state.server && !models.length) return html`<p class="hint bad">${t("noModels")}</p>`;
  if (models.length < 2) return null;
  return html`<label class="field"
    ><span>${t("model")}</span>
    <select value=${modelAtHand().name} onChange=${(event) => change({ model: event.target.value })}>
      ${models.map((each) => html`<option value=${each.name}>${each.name}</option>`)}
    </select></label
  >`;
}

function Tokens() {
  const { tokens } = state;
  const told = tokens && state.values.prompt;
  return html`<div id="tokens" class="hint tokens">
    ${told && html`<span class=${tokens.tokens > tokens.limit ? "bad" : ""}>${counted(tokens)}</span>`}
    ${told && tokens.unknown.length > 0 && html`<span class="bad">${t("unknown", { words: tokens.unknown.join(", ") })}</span>`}
  </div>`;
}

function counted({ tokens, limit, chunks }) {
  return chunks > 1 ? t("tokensParts", { tokens, chunks, limit }) : t("tokens", { tokens, limit });
}

function PaintButton() {
  const [placing, setPlacing] = useState(false);
  const running = state.jobs.filter((each) => !isOver(each));
  const ready = modelAtHand() && state.reachable && !placing;
  return html`<div class="go">
    <button class="paint" id="paint" type="submit" disabled=${!ready} data-placing=${placing} onClick=${() => place(setPlacing)}>
      ${running.length ? t("paintNext") : t("paint")}
    </button>
    ${running.length > 0 &&
    html`<button type="button" class="stop" onClick=${() => running.forEach(cancel)}>
      ${running.length > 1 ? t("cancelAll", { count: running.length }) : t("cancel")}
    </button>`}
  </div>`;
}

async function place(setPlacing) {
  setPlacing(true);
  setTimeout(() => setPlacing(false), 600); // a double click orders one picture
  try {
    await paint(currentOrder());
  } catch (error) {
    const named = error.field && !error.message.includes(error.field) ? `${optionLabel(error.field)}: ` : "";
    notify(named + error.message, "error");
  }
}

function submitted(event) {
  event.preventDefault();
}

function paintsOnEnter(event) {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  document.getElementById("paint").click();
}
