/** Knows what the server can do and how it is, and notices when it goes and comes back. */

import { getJson, request } from "./api.js";
import { change, state } from "./state.js";

const HEARTBEAT = 5000; // milliseconds
const SHORT = { share: 0.08, bytes: 2 ** 30 }; // less free memory than both is worth a word

/** Asks for the capabilities now, and again when the server was away, works for others, or the user comes back. */
export async function stayConnected() {
  await refresh();
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  setInterval(beat, HEARTBEAT);
}

export async function refresh() {
  try {
    const server = await getJson("capabilities");
    const known = server.models.some((each) => each.name === state.model);
    change({ server, model: known ? state.model : null });
  } catch {
    // `request` has said that the server is away; the next heartbeat tries again
  }
}

async function beat() {
  if (document.hidden) return;
  if (state.server === null || !state.reachable || state.jobs.length) return refresh();
  await request("/health").catch(() => {});
}

export function shortOfMemory() {
  const memory = state.server?.memory;
  return Boolean(memory?.total) && memory.free < SHORT.bytes && memory.free < SHORT.share * memory.total;
}
