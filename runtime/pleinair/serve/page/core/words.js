/** The page's words in the language at hand. */

import { OPTION_TEXTS, PANELS, USUAL } from "./option-texts.js";
import { preferences } from "./preferences.js";
import { TEXTS } from "./texts.js";

/** The text of this name, with {values} put in. */
export function t(name, values = {}) {
  return TEXTS[name][preferences.language].replace(/\{(\w+)\}/g, (_, value) => values[value]);
}

/** "guidance_start" -> "Guidance start", or the word that the language has for it. */
export function optionLabel(name) {
  const said = OPTION_TEXTS[name]?.[preferences.language]?.label;
  const plain = name.replaceAll("_", " ");
  return said ?? plain[0].toUpperCase() + plain.slice(1);
}

/** What an option does: the server's words, or their translation. */
export function optionHelp(option) {
  return OPTION_TEXTS[option.name]?.[preferences.language]?.help ?? option.help;
}

export function usualWords(usual) {
  return USUAL[usual]?.[preferences.language] ?? usual;
}

export function panelTitle(panel) {
  return PANELS[panel]?.[preferences.language] ?? panel;
}

/** What the server says, as a sentence: its lines begin small and have no full stop. */
export function sentence(text) {
  const said = text.trim();
  return said[0].toUpperCase() + said.slice(1) + (/[.!?…]$/.test(said) ? "" : ".");
}

/** 95 -> "1 min 35 s". */
export function duration(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return whole % 60 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${whole / 60} min`;
  return `${Math.floor(whole / 3600)} h ${Math.round((whole % 3600) / 60)} min`;
}

export function gigabytes(bytes) {
  return (bytes / 2 ** 30).toLocaleString(preferences.language, { maximumFractionDigits: 1 });
}

export function dateAndTime(milliseconds) {
  return new Date(milliseconds).toLocaleString(preferences.language, { dateStyle: "medium", timeStyle: "short" });
}
