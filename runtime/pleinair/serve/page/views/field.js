/** One option as what suits its schema: a switch, a choice, a slider, a number or text; with its help. */

import { html } from "../vendored/htm-preact.js";
import { currentOrder, isIdle } from "../core/order.js";
import { fitting, modelAtHand, SHELVES, state } from "../core/state.js";
import { optionHelp, optionLabel, t } from "../core/words.js";
import { numberOf, Typed } from "./typed.js";

const FINE = 10; // the widest range that a slider is fine enough for

export function Field({ option, usual, value, onChange }) {
  const id = `option-${option.name}`;
  const Kind = kindOf(option);
  const back = () => {
    onChange(undefined);
    document.getElementById(id)?.focus(); // the button goes
  };
  const set = value !== undefined;
  return html`<div class=${`option ${set ? "set" : ""}`}>
    <label for=${id}>${optionLabel(option.name)}</label>
    <${Kind} id=${id} option=${option} usual=${usual} value=${value} onChange=${onChange} />
    <p class="hint" id=${`${id}-help`}>${helpOf(option, usual)}</p>
    ${set && vain(option) && html`<p class="hint bad">${vain(option)}</p>`}
    ${set && html`<button type="button" class="quiet small" aria-label=${`${t("asUsual")}: ${optionLabel(option.name)}`} onClick=${back}>${t("asUsual")}</button>`}
  </div>`;
}

/** Why an option that is set means nothing as things are; null where it does mean something. */
function vain(option) {
  if (isIdle(option, { ...currentOrder(), ...state.values }))
    return t("onlyWith", { names: option.needs.map(optionLabel).join(", ") });
  const sampler = state.values.sampler ?? modelAtHand()?.defaults?.sampler;
  const known = state.server.samplers?.some((each) => each.name === sampler);
  const takes = !known || !option.by_sampler?.length || option.by_sampler.includes(sampler);
  return option.name.startsWith("hires_") || takes ? null : t("notSampler", { sampler });
}

/** What an option does, of which samplers it is, and what holds where that is no value but words. */
function helpOf(option, usual) {
  const samplers = option.by_sampler?.length ? t("onlySamplers", { names: option.by_sampler.join(", ") }) : "";
  const words = isWords(option, usual) ? t("usualIs", { value: usual }) : "";
  return [optionHelp(option), samplers, words].filter(Boolean).join(" ");
}

/** Whether what holds where nothing is said is described, as "the model's", and not a value. */
function isWords(option, usual) {
  return typeof usual === "string" && usual !== "" && !choicesOf(option)?.includes(usual);
}

function kindOf(option) {
  const { schema } = option;
  const numeric = schema.type === "number" || schema.type === "integer";
  if (schema.type === "boolean") return Switch;
  if (option.name === "embeddings") return Several;
  if (choicesOf(option)) return Choice;
  if (numeric && schema.maximum - schema.minimum <= FINE && schema.type === "number") return Slider;
  return numeric ? Numeric : Words;
}

/** What may be chosen; null for what is not chosen from a list. */
function choicesOf({ name, schema, choices }) {
  const listed = choices?.length ? choices : (schema.enum ?? schema.examples);
  const shelf = SHELVES[name] && fitting(SHELVES[name]).map((each) => each.name);
  return listed || shelf ? [...(listed ?? []), ...(shelf ?? [])] : null;
}

function placed(option, usual) {
  return isWords(option, usual) ? "" : usual;
}

function Switch({ id, option, value, onChange }) {
  const on = value ?? option.default ?? false;
  const toggle = (event) =>
    onChange(event.target.checked === (option.default ?? false) ? undefined : event.target.checked);
  return html`<input type="checkbox" role="switch" class="switch" id=${id} checked=${on} aria-describedby=${`${id}-help`} onChange=${toggle} />`;
}

function Choice({ id, option, usual, value, onChange }) {
  const known = choicesOf(option);
  const choices = value === undefined || known.includes(value) ? known : [value, ...known];
  return html`<select id=${id} aria-describedby=${`${id}-help`} value=${value === undefined ? "" : JSON.stringify(value)}
    onChange=${(event) => onChange(event.target.value === "" ? undefined : JSON.parse(event.target.value))}>
    <option value="">${usual === "" ? t("none") : isWords(option, usual) ? t("usualBare") : t("usual", { value: usual })}</option>
    ${choices.map((each) => html`<option value=${JSON.stringify(each)}>${shown(each)}</option>`)}
  </select>`;
}

function shown(choice) {
  return choice === true ? t("yes") : choice === false ? t("no") : choice;
}

function Slider({ id, option, usual, value, onChange }) {
  const { minimum, maximum } = option.schema;
  const known = typeof usual === "number" ? usual : minimum;
  const step = (maximum - minimum) / 100 >= 0.05 ? 0.05 : 0.01;
  return html`<div class="slider">
    <input type="range" aria-label=${optionLabel(option.name)} min=${minimum} max=${maximum} step=${step} value=${value ?? known} onInput=${(event) => onChange(event.target.valueAsNumber)} />
    <${Typed} type="number" id=${id} aria-describedby=${`${id}-help`} min=${minimum} max=${maximum} step="any" placeholder=${placed(option, usual)} value=${value ?? ""} onType=${(text) => onChange(numberOf(text))} />
  </div>`;
}

function Numeric({ id, option, usual, value, onChange }) {
  const { minimum, maximum, type } = option.schema;
  return html`<${Typed} type="number" id=${id} aria-describedby=${`${id}-help`} min=${minimum} max=${maximum} step=${type === "integer" ? 1 : "any"} placeholder=${placed(option, usual)} value=${value ?? ""} onType=${(text) => onChange(numberOf(text))} />`;
}

function Words({ id, option, usual, value, onChange }) {
  const shown = Array.isArray(value) ? value.join(", ") : (value ?? "");
  const take = (text) => onChange(text.trim() === "" ? undefined : read(option.schema, text));
  return html`<${Typed} type="text" id=${id} aria-describedby=${`${id}-help`} placeholder=${placed(option, usual)} value=${shown} onType=${take} />`;
}

/** "14.6, 3" -> [14.6, 3] where the schema wants a list. */
function read(schema, text) {
  if (schema.type !== "array") return text;
  return text
    .split(",")
    .map((each) => each.trim())
    .filter(Boolean)
    .map((each) => (Number.isFinite(Number(each)) ? Number(each) : each));
}

function Several({ id, option, value = [], onChange }) {
  const names = choicesOf(option);
  const toggle = (name) => {
    const chosen = value.includes(name) ? value.filter((each) => each !== name) : [...value, name];
    onChange(chosen.length ? chosen : undefined);
  };
  if (!names.length)
    return html`<input type="text" id=${id} disabled value=${t("noneHere")} aria-describedby=${`${id}-help`} />`;
  return html`<div class="several" id=${id}>
    ${names.map((name) => html`<label><input type="checkbox" checked=${value.includes(name)} onChange=${() => toggle(name)} /> ${name}</label>`)}
  </div>`;
}
