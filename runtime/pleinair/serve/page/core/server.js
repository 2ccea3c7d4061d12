/** Knows what the server can do and how it is, and notices when it goes and comes back. */

import { getJson, request } from "./api.js";
import { change, state } from "./state.js";

const HEARTBEAT = 5000; // milliseconds
const FRESH = 60_000; // after which what the server can do is asked for again
const SHORT = { share: 0.08, bytes: 2 ** 30 }; // less free memory than both is worth a word

let asked = 0;

/** Asks for the capabilities now, and again when the server was away, or the user comes back. */
export async function stayConnected() {
  await refresh();
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  setInterval(beat, HEARTBEAT);
}

export async function refresh() {
  asked = Date.now();
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
  if (state.server === null || !state.reachable || Date.now() - asked > FRESH) return refresh();
  await request("/health").catch(() => {});
}

export function shortOfMemory() {
  const memory = state.server?.memory;
  return Boolean(memory?.total) && memory.free < SHORT.bytes && memory.free < SHORT.share * memory.total;
}
