/** In what the orders of two pictures differ. */

import { optionLabel } from "./words.js";

/** { label, left, right } for every option that one has and the other has not, or has with another value. */
export function differences(left, right) {
  const [one, other] = [left, right].map(({ order, seed }) => ({ ...order, seed }));
  const names = [...new Set([...Object.keys(one), ...Object.keys(other)])].filter((name) => name !== "title");
  return names
    .map((name) => ({ label: optionLabel(name), left: words(one[name]), right: words(other[name]) }))
    .filter((row) => row.left !== row.right);
}

function words(value) {
  if (value === undefined || value === null) return "–";
  if (value instanceof Blob) return `${value.size} B`;
  if (Array.isArray(value)) return value.map((each) => each.name ?? each).join(", ");
  return String(value);
}
