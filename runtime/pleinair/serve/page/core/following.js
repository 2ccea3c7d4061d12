/** A job is followed to its end, over lost connections and restarts, by its events. */

import { getJson, request, told } from "./api.js";
import { blobOf } from "./blobs.js";
import { events } from "./events.js";
import { keepRecord } from "./history.js";
import { refresh } from "./server.js";
import { change, state } from "./state.js";
import { t } from "./words.js";

const GOES_ON = ["queued", "loading", "painting"];
const ENDS = ["done", "failed", "cancelled"];
const FILM = 120; // previews kept of a job
const STREAMS = 2; // open at once: a browser has six connections for all of a server's pages
const PAUSES = { least: 500, most: 4000 }; // milliseconds
const MISSES = 6; // answers in a row that make no sense, after which a job is given up

let streams = 0;

export function isOver(job) {
  return [...ENDS, "lost"].includes(job.status);
}

/** Resolves when the job is over, whatever the server does. */
export async function follow(job) {
  const heard = { last: null, misses: 0, pause: PAUSES.least };
  while (!isOver(job)) {
    try {
      if (streams < STREAMS) await listen(job, heard);
      if (!isOver(job)) await catchUp(job);
    } catch (error) {
      if ([404, 410].includes(error.status)) lose(job);
      else if (error.code !== "unreachable" && error.name !== "AbortError") miss(job, heard, error);
    }
    if (isOver(job)) break;
    await new Promise((resolve) => setTimeout(resolve, heard.pause));
    heard.pause = Math.min(2 * heard.pause, PAUSES.most);
  }
  await refresh();
}

async function listen(job, heard) {
  streams += 1;
  try {
    for await (const event of events(`jobs/${job.id}/events`, heard.last)) {
      await take(job, event);
      Object.assign(heard, { last: event.id ?? heard.last, misses: 0, pause: PAUSES.least });
    }
  } finally {
    streams -= 1;
  }
}

async function take(job, { name, data }) {
  const takes = {
    queued: () => Object.assign(job, { status: "queued", position: data.position, wait: data.expected_wait_s }),
    loading: () => Object.assign(job, { status: "loading" }),
    step: () => step(job, data),
    image: () => keep(job, data),
    warning: () => job.warnings.push(data.message),
    done: () => finish(job, data),
    failed: () => Object.assign(job, { status: "failed", error: data.error ?? data }),
    cancelled: () => Object.assign(job, { status: "cancelled" }),
  };
  await takes[name]?.();
  change({ jobs: [...state.jobs] });
}

function step(job, { step, steps, eta_s: eta, preview }) {
  const quarter = Math.floor((4 * step) / steps);
  if (quarter > Math.floor((4 * (job.step ?? 0)) / steps) && quarter < 4) change({ said: t("share", { share: 25 * quarter }) });
  Object.assign(job, { status: "painting", step, steps, eta });
  if (!preview) return;
  const type = preview.startsWith("/9j/") ? "jpeg" : "webp";
  job.preview = preview.startsWith("data:") ? preview : `data:image/${type};base64,${preview}`;
  if (job.previews.length < FILM) job.previews.push(blobOf(job.preview));
}

/** Fetches a picture that is done, once, and puts it into the history. */
async function keep(job, { index, url, seed }) {
  if (job.fetched[index]) return;
  const blob = await (await request(url)).blob();
  if (job.order.task === "morph") {
    job.frames[index] = blob;
  } else {
    const { id, order, previews } = job;
    job.records.push(await keepRecord({ job: id, index, seed, blob, order, previews }));
    job.previews = [];
  }
  job.fetched[index] = true;
}

async function finish(job, answer) {
  for (const [index, image] of (answer.images ?? []).entries()) await keep(job, { index, ...image });
  if (job.frames.length)
    job.records.push(await keepRecord({ job: job.id, blob: job.frames[0], order: job.order, frames: job.frames }));
  job.warnings = answer.warnings ?? job.warnings;
  job.status = "done";
  change({ said: t("painted") });
  const mine = state.shown?.kind === "job" && state.shown.id === job.id;
  if (mine && job.records.length) change({ shown: { kind: "record", id: job.records[0].id } });
}

/** Asks what became of a job that no events tell of. */
async function catchUp(job) {
  const answer = await getJson(`jobs/${job.id}`);
  const { status, step, steps, eta_s: eta, queue_position: position, expected_wait_s: wait, error } = answer;
  if (status === "done") await finish(job, answer);
  else if (ENDS.includes(status)) Object.assign(job, { status, error });
  else if (GOES_ON.includes(status)) Object.assign(job, { status, step, steps, eta, position, wait });
  else throw new TypeError("no status");
  change({ jobs: [...state.jobs] });
}

function miss(job, heard, error) {
  heard.misses += 1;
  if (heard.misses < MISSES) return;
  Object.assign(job, { status: "failed", error: { code: "nonsense", message: told(error) } });
  change({ jobs: [...state.jobs] });
}

export function lose(job) {
  Object.assign(job, { status: "lost", error: { code: "lost", message: t("lost") } });
  change({ jobs: [...state.jobs] });
}
