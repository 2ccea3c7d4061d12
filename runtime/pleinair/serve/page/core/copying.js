/** An order as the command line and as Python that paint the same picture, and the files that both read. */

import { state } from "./state.js";

const FILES = { image: "start.png", mask: "mask.png" };
const FLAGS = { embeddings: "--embedding" }; // that are not called as their options are
const APART = ["task", "model", "prompt", "lora", "control", "title", "width", "height"];

export function asCommand({ prompt = "", ...order }) {
  const words = ["pleinair", "generate", ...(prompt.startsWith("-") ? [] : [quoted(prompt)])];
  if (order.model) words.push("--model", quoted(order.model));
  if (order.width && order.height) words.push("--size", `${order.width}x${order.height}`);
  for (const [name, value] of told(order)) words.push(...flag(name, value));
  for (const { name, strength } of order.lora ?? []) words.push("--lora", quoted(`${name}:${strength}`));
  for (const [k, each] of (order.control ?? []).entries()) words.push("--control", quoted(controlWords(each, k)));
  words.push("-o", "picture.png");
  return [...words, ...(prompt.startsWith("-") ? ["--", quoted(prompt)] : [])].join(" ");
}

export function asPython(order) {
  const lines = [JSON.stringify(order.prompt ?? "")];
  if (order.width && order.height) lines.push(`size="${order.width}x${order.height}"`);
  for (const [name, value] of told(order)) lines.push(`${name}=${pythonic(value)}`);
  if (order.lora)
    lines.push(`loras=[${order.lora.map(({ name, strength }) => `(${JSON.stringify(name)}, ${strength})`).join(", ")}]`);
  if (order.control) lines.push(`controls=[${order.control.map(controlDict).join(", ")}]`);
  const model = order.model ? JSON.stringify(order.model) : "";
  return `import pleinair\n\npipe = pleinair.load(${model})\nresult = pipe.generate(\n${lines
    .map((each) => `    ${each},\n`)
    .join("")})\nresult.save("picture.png")\n`;
}

/** { name, blob } of each file that command and Python read. */
export function filesOf(order) {
  const given = Object.entries(FILES).map(([option, name]) => ({ name, blob: order[option] }));
  const controls = (order.control ?? []).map(({ image }, k) => ({ name: controlFile(k), blob: image }));
  return [...given, ...controls].filter(({ blob }) => blob instanceof Blob);
}

function controlFile(k) {
  return `control-${k + 1}.png`;
}

/** The options of an order with what stands for pictures: the names of files. */
function told(order) {
  const entries = Object.entries(order).filter(([name]) => !APART.includes(name));
  return entries.map(([name, value]) => [name, value instanceof Blob ? FILES[name] : value]);
}

function flag(name, value) {
  const option = state.server?.options.find((each) => each.name === name);
  const dashed = name.replaceAll("_", "-");
  if (typeof value === "boolean")
    return value === (option?.default ?? false) ? [] : [value ? `--${dashed}` : `--no-${dashed}`];
  if (name in FLAGS) return value.flatMap((each) => [FLAGS[name], quoted(each)]);
  return [`--${dashed}`, quoted(String(value))];
}

function controlWords({ name, strength, start, end, preprocessor }, k) {
  return [name, controlFile(k), strength, start, end, preprocessor]
    .filter((each) => each !== undefined && each !== null && each !== "")
    .join(":");
}

function controlDict({ name, strength, start, end, preprocessor }, k) {
  const prepare = preprocessor ? { prepare: preprocessor } : {};
  return pythonic({ model: name, image: controlFile(k), strength, start, end, ...prepare });
}

/** A word for a shell: double quotes do for PowerShell and cmd too, single ones for what POSIX shells would read in them. */
function quoted(text) {
  if (/^[\w.,:/+][\w.,:/+-]*$/.test(text)) return text;
  return /["$`\\!%]/.test(text) ? `'${text.replaceAll("'", `'\\''`)}'` : `"${text}"`;
}

function pythonic(value) {
  if (value === true || value === false) return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(pythonic).join(", ")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return `{${entries.map(([name, each]) => `${JSON.stringify(name)}: ${pythonic(each)}`).join(", ")}}`;
}
