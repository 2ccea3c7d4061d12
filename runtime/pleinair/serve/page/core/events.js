/** Server-sent events over fetch: unlike EventSource, it says with which status the server refused. */

import { away, request } from "./api.js";

const SILENCE = 45_000; // milliseconds: three of the server's signs of life, after which the connection counts as lost

/** Yields { id, name, data } from the one after `last` on, until the server ends the stream. */
export async function* events(path, last) {
  const giving = new AbortController();
  let timer;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => giving.abort(), SILENCE);
  };
  heard();
  try {
    const headers = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": String(last) } : {}) };
    const response = await request(path, { headers, signal: giving.signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read().catch(() => Promise.reject(away()));
      if (done) return;
      heard();
      const blocks = (text + value).replaceAll("\r\n", "\n").split("\n\n");
      text = blocks.pop();
      yield* blocks.map(parsed).filter(Boolean);
    }
  } finally {
    clearTimeout(timer);
    giving.abort();
  }
}

/** An event of its lines; null for a comment, and for what cannot be read. */
function parsed(block) {
  const fields = { id: null, event: "message", data: [] };
  for (const line of block.split("\n")) {
    const [, name, value] = line.match(/^([a-z]+): ?(.*)$/) ?? [];
    if (name === "data") fields.data.push(value);
    else if (name in fields) fields[name] = value;
  }
  try {
    return { id: fields.id, name: fields.event, data: JSON.parse(fields.data.join("\n")) };
  } catch {
    return null;
  }
}
