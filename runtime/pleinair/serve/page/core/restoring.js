/** Settings back from a picture: one of the history, or any file that a program has written its settings into. */

import { getJson, told } from "./api.js";
import { adoptOrder } from "./order.js";
import { notify, state } from "./state.js";
import { t } from "./words.js";

/** Restores the settings that a file holds; says what they came from, and what they name that is not here. */
export async function restoreFrom(file) {
  try {
    const answer = await getJson("metadata", { method: "POST", body: file, headers: { "Content-Type": file.type } });
    const { order, missing } = orderFrom(answer.settings);
    await adoptOrder(order);
    notify(t("restored", { from: answer.from ?? file.name }));
    for (const each of [...(answer.warnings ?? []), ...missing]) notify(each, "error");
  } catch (error) {
    notify(error.code === "no_record" ? t("noSettings") : told(error), "error");
  }
}

/** An order made of a record's settings, and words about what is not here. */
export function orderFrom(settings) {
  const order = {};
  const missing = [];
  const offered = new Set(state.server.options.filter((each) => !each.files).map((each) => each.name));
  for (const [name, value] of Object.entries(settings)) if (offered.has(name)) order[name] = value;
  if (settings.seeds?.length) order.seed = settings.seeds.length === 1 ? settings.seeds[0] : settings.seeds;
  const model = settings.model?.name ?? settings.model ?? settings.bundle?.name ?? settings.bundle;
  if (here("models", model)) order.model = model;
  else if (model) missing.push(t("modelMissing", { name: model }));
  for (const [name, use] of namedLoras(settings)) {
    if (here("loras", name)) (order.lora ??= []).push({ name, strength: use });
    else missing.push(t("loraMissing", { name }));
  }
  for (const [name, shelf] of [
    ["vae", "vaes"],
    ["upscale", "upscalers"],
  ]) {
    if (here(shelf, settings[name])) order[name] = settings[name];
  }
  if (settings.image_sha256) missing.push(t("startMissing"));
  return { order, missing };
}

function namedLoras({ loras, lora }) {
  if (Array.isArray(lora ?? loras))
    return (lora ?? loras).map((each) => [each.name, each.strength ?? each.weight ?? 1]);
  return Object.entries(loras ?? {}).map(([name, use]) => [name, use.weight ?? 1]);
}

function here(shelf, name) {
  return (state.server[shelf] ?? []).some((each) => (each.name ?? each) === name);
}
