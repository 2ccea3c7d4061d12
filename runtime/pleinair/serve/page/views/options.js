/** All other options, folded away in the groups of the server's table, with a search. */

import { html, useState } from "../vendored/htm-preact.js";
import { modelAtHand, change, setValue, state } from "../core/state.js";
import { optionHelp, optionLabel, panelTitle, t, usualWords } from "../core/words.js";
import { Field } from "./field.js";

const ELSEWHERE = ["prompt", "negative", "size", "width", "height", "count", "seed"]; // what other parts of the page ask
const PICTURES = ["image", "mask", "outpaint", "loras", "controls", "lora", "control"];

export function Options() {
  const [sought, setSought] = useState("");
  const options = (state.server?.options ?? []).filter((each) => offered(each) && matches(each, sought));
  const panels = [...new Set(options.map((each) => each.panel))];
  const set = Object.keys(state.values).filter((name) => !ELSEWHERE.includes(name) && !PICTURES.includes(name));
  return html`<details class="card all">
    <summary><h2>${t("options")}</h2>${set.length > 0 && html`<span class="badge">${set.length}</span>`}</summary>
    <label class="field"
      ><span class="unseen">${t("search")}</span>
      <input type="search" id="search" placeholder=${t("search")} value=${sought} onInput=${(event) => setSought(event.target.value)} /></label
    >
    ${panels.map((panel) => html`<${Panel} key=${panel} panel=${panel} open=${sought !== ""} options=${options.filter((each) => each.panel === panel)} />`)}
    ${!panels.length && state.server && html`<p class="hint">${t("nothingFound")}</p>`}
    ${set.length > 0 && html`<button type="button" class="quiet" onClick=${() => reset(set)}>${t("reset")}</button>`}
  </details>`;
}

function Panel({ panel, options, open }) {
  const count = options.filter((each) => each.name in state.values).length;
  return html`<details class="group" open=${open || undefined}>
    <summary><h3>${panelTitle(panel)}</h3>${count > 0 && html`<span class="badge">${count}</span>`}</summary>
    ${options.map((option) => html`<${Field} key=${option.name} option=${option} usual=${usual(option)} value=${state.values[option.name]} onChange=${(value) => setValue(option.name, value)} />`)}
  </details>`;
}

function offered(option) {
  return !ELSEWHERE.includes(option.name) && !PICTURES.includes(option.name) && option.schema;
}

function matches(option, sought) {
  const text = [option.name, optionLabel(option.name), optionHelp(option), panelTitle(option.panel)]
    .join(" ")
    .toLowerCase();
  return sought
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

/** What holds where the user says nothing: the model's value, the table's, or its words for it. */
function usual(option) {
  const found = modelAtHand()?.defaults?.[option.name] ?? option.default;
  return found === null || found === undefined || found === "" ? usualWords(option.usual ?? "") : found;
}

function reset(names) {
  change({ values: Object.fromEntries(Object.entries(state.values).filter(([name]) => !names.includes(name))) });
}
