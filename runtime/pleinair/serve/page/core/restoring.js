/** Settings back from a picture: one of the history, or any file that a program has written its settings into. */

import { getJson, told } from "./api.js";
import { adoptOrder } from "./order.js";
import { notify, SHELVES, state } from "./state.js";
import { optionLabel, sentence, t } from "./words.js";

const IN_PROMPT = /<lora:([^:>]+)(?::([\d.+-]+))?[^>]*>/g;

/** Restores the settings that a file holds; says what they came from, and what they name that is not here. */
export async function restoreFrom(file) {
  try {
    const answer = await getJson("metadata", { method: "POST", body: file, headers: { "Content-Type": file.type } });
    const { order, missing, warnings } = orderFrom(answer);
    await adoptOrder(order);
    notify(t("restored", { from: answer.from ?? file.name }));
    for (const each of [...warnings.map(sentence), ...missing]) notify(each, "error");
  } catch (error) {
    notify(error.code === "no_record" ? t("noSettings") : told(error), "error");
  }
}

/** An order made of what a file says, words about what is not here, and those warnings that still hold. */
export function orderFrom({ settings = {}, record, inputs = [], warnings = [] }) {
  const order = {};
  const missing = [];
  for (const { name, files, choices = [] } of state.server.options) {
    const value = settings[name];
    if (value === undefined) continue;
    const known = [value].flat().every((each) => choices.includes(each) || here(SHELVES[name], each));
    if (!files || known) order[name] = value;
    else if (name in SHELVES) missing.push(t("partMissing", { kind: optionLabel(name), name: value }));
  }
  const model = modelOf(record ?? {});
  if (here("models", model)) order.model = model;
  else if (model) missing.push(t("modelMissing", { name: model }));
  const { loras, prompt } = lorasOf(order.prompt ?? "", record ?? {});
  order.prompt = prompt;
  for (const { name, strength } of loras) {
    if (here("loras", name)) (order.lora ??= []).push({ name, strength });
    else missing.push(t("partMissing", { kind: "LoRA", name }));
  }
  if (inputs.length) missing.push(t("startMissing"));
  return { order, missing, warnings: warnings.filter((each) => !(loras.length && each === "not followed: loras")) };
}

/** The model's name in our record, in A1111's text, in ComfyUI's graph, or in InvokeAI's. */
function modelOf({ bundle, model, Model }) {
  return bundle?.name ?? model?.name ?? Model ?? (typeof model === "string" ? model : undefined);
}

/** LoRAs of our record and of InvokeAI's, and those in the prompt, which become sliders. */
function lorasOf(text, { loras = {} }) {
  const listed = Array.isArray(loras)
    ? loras.map(({ model, lora, weight }) => ({ name: model?.name ?? lora?.model_name ?? lora?.name, strength: weight }))
    : Object.entries(loras).map(([name, { weight }]) => ({ name, strength: weight }));
  const within = [...text.matchAll(IN_PROMPT)].map(([, name, weight]) => ({ name, strength: Number(weight ?? 1) }));
  const named = new Map([...within, ...listed].map(({ name, strength }) => [name, { name, strength: strength ?? 1 }]));
  return { loras: [...named.values()], prompt: text.replace(IN_PROMPT, "").trim() };
}

function here(shelf, name) {
  return (state.server[shelf] ?? []).some((each) => (each.name ?? each) === name);
}
