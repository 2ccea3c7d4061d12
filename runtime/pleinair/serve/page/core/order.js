/** What the form asks for, as one order: the body of a job, with blobs where pictures are. */

import { change, fitting, modelAtHand, state } from "./state.js";
import { startFrom } from "./start.js";

const ON_ITS_OWN = ["image", "mask", "outpaint", "lora", "loras", "control", "controls"];

/** The order of what is set in the form now. */
export function currentOrder() {
  const order = { task: "generate", model: modelAtHand()?.name, prompt: "", ...state.values };
  for (const option of state.server?.options ?? []) {
    if (option.name in order && isIdle(option, order)) delete order[option.name];
  }
  if (state.start) Object.assign(order, startedFrom(state.start));
  else delete order.strength;
  const [loras, controls] = [fittingOf(state.loras, "loras"), fittingOf(state.controls, "controlnets")];
  const pictured = controls.filter((each) => each.image);
  if (loras.length) order.lora = loras.map(({ name, strength }) => ({ name, strength }));
  if (pictured.length) order.control = pictured;
  return order;
}

/** Of what was chosen for any model: what is offered for the one at hand. */
function fittingOf(chosen, shelf) {
  const names = fitting(shelf).map((each) => each.name);
  return chosen.filter((each) => names.includes(each.name));
}

/** Whether an option means nothing among these values, as all that it needs is off. */
export function isIdle(option, order) {
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
  const offered = state.server.options.map((each) => each.name).filter((name) => !ON_ITS_OWN.includes(name));
  const values = Object.fromEntries(Object.entries(order).filter(([name]) => offered.includes(name)));
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
