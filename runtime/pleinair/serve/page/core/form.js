/** The form as it was left, over a reload: what was written and chosen, without pictures. */

import { change, state } from "./state.js";
import { keep, kept } from "./storage.js";

const NAME = "pleinair.form";

let last = {};

export function restoreForm() {
  const { model, values, loras } = kept(NAME) ?? {};
  change({
    model: typeof model === "string" ? model : null,
    values: values !== null && typeof values === "object" ? values : {},
    loras: Array.isArray(loras) ? loras : [],
  });
}

export function keepForm() {
  const { model, values, loras } = state;
  if (values === last.values && loras === last.loras && model === last.model) return;
  last = { model, values, loras };
  keep(NAME, last);
}
