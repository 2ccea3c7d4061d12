/** What the form asks for, as one order: the body of a job, with blobs where pictures are. */

import { change, modelAtHand, state } from "./state.js";
import { startFrom } from "./start.js";

const ON_ITS_OWN = ["image", "mask", "outpaint", "lora", "loras", "control", "controls", "task", "model"];

/** The order of what is set in the form now. */
export function currentOrder() {
  const order = { task: "generate", model: modelAtHand()?.name, prompt: "", ...state.values };
  for (const option of state.server?.options ?? []) {
    if (option.name in order && idle(option, order)) delete order[option.name];
  }
  if (state.start) Object.assign(order, startedFrom(state.start));
  else delete order.strength;
  if (state.loras.length) order.lora = state.loras.map(({ name, strength }) => ({ name, strength }));
  const controls = state.controls.filter((each) => each.image);
  if (controls.length) order.control = controls;
  return order;
}

/** Whether an option means nothing, as all that it needs is off. */
function idle(option, order) {
  const needs = option.needs ?? [];
  const pictures = { image: state.start, mask: state.start?.mask, outpaint: state.start?.sides.some(Boolean) };
  return needs.length > 0 && !needs.some((name) => (name in pictures ? pictures[name] : isOn(order[name])));
}

function isOn(value) {
  return value !== undefined && value !== null && value !== false && value !== 0;
}

function startedFrom({ image, mask, sides }) {
  return { image, ...(mask ? { mask } : {}), ...(sides.some(Boolean) ? { outpaint: sides } : {}) };
}

/** Puts an order into the form: everything that it says, and nothing else. */
export async function adoptOrder(order) {
  const values = Object.fromEntries(Object.entries(order).filter(([name]) => !ON_ITS_OWN.includes(name)));
  change({
    model: order.model ?? state.model,
    values,
    loras: order.lora ?? [],
    controls: order.control ?? [],
    start: order.image ? await startFrom(order.image, { mask: order.mask, sides: order.outpaint }) : null,
  });
}

/** An order like this one for one of its pictures: its seed instead of all. */
export function orderOf(record) {
  const { count, size, ...order } = record.order;
  const seeded = record.seed === null || record.seed === undefined ? order : { ...order, seed: record.seed };
  return size ? { ...seeded, size } : seeded;
}
