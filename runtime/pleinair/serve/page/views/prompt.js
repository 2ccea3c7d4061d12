/** What to paint. */

import { html, useEffect } from "../vendored/htm-preact.js";
import { countTokens } from "../core/tokens.js";
import { change, modelAtHand, setValue, state } from "../core/state.js";
import { t } from "../core/words.js";
import { Format } from "./format.js";

export function Prompt() {
  const { prompt = "", negative = "" } = state.values;
  const model = modelAtHand();
  useEffect(() => countTokens(model?.name, prompt), [model?.name, prompt]);
  return html`<form class="card prompt" onSubmit=${submitted}>
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
    <${Trigger} words=${model?.trigger} />
    <label class="field"
      ><span>${t("negative")}</span>
      <textarea rows="1" class="low" value=${negative} onInput=${(event) => setValue("negative", event.target.value)} />
    </label>
    <${Format} />
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

/** Words that a model was trained to wait for. */
function Trigger({ words }) {
  if (!words || state.values.prompt?.includes(words)) return null;
  const add = () => setValue("prompt", [words, state.values.prompt].filter(Boolean).join(", "));
  return html`<p class="hint">${t("trigger", { words })} <button type="button" class="quiet small" onClick=${add}>${t("addWords")}</button></p>`;
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

function submitted(event) {
  event.preventDefault();
}
