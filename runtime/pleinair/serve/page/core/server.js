/** Knows what the server can do and how it is, and notices when it goes and comes back. */

import { ApiError, getJson, request, told } from "./api.js";
import { change, notify, state } from "./state.js";
import { t } from "./words.js";

const HEARTBEAT = 5000; // milliseconds
const PATIENCE = 10_000; // for its answer
const FRESH = 60_000; // after which what the server can do is asked for again
const SHORT = { share: 0.08, bytes: 2 ** 30 }; // less free memory than both is worth a word

let asked = 0;

/** Asks for the capabilities now, and again when the server was away, or the user comes back. */
export async function stayConnected() {
  await refresh();
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  setTimeout(beat, HEARTBEAT);
}

export async function refresh() {
  asked = Date.now();
  try {
    const server = await getJson("capabilities");
    if (![server.models, server.options].every(Array.isArray)) throw new ApiError("nonsense", t("nonsense"));
    if (state.server && state.server.version !== server.version) notify(t("renewed"), "error");
    const known = server.models.some((each) => each.name === state.model);
    change({ server, model: known ? state.model : null });
  } catch (error) {
    if (error.code !== "unreachable") notify(told(error), "error"); // else `request` has said so
  }
}

async function beat() {
  const { server, reachable } = state;
  const stale = !server || !reachable || server.queue?.length > 0 || Date.now() - asked > FRESH;
  if (!document.hidden && stale) await refresh();
  else if (!document.hidden) await request("/health", { signal: AbortSignal.timeout(PATIENCE) }).catch(() => {});
  setTimeout(beat, HEARTBEAT); // and not at an interval: what hangs must not pile up
}

export function shortOfMemory() {
  const memory = state.server?.memory;
  return Boolean(memory?.total) && memory.free < SHORT.bytes && memory.free < SHORT.share * memory.total;
}
