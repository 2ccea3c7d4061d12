/** Jobs: placed, cancelled, put away, and found again after a reload or a restart of the server. */

import { getJson, request, told } from "./api.js";
import { withoutBlobs } from "./blobs.js";
import { follow, isOver, lose } from "./following.js";
import { change, notify, state } from "./state.js";
import { forget, keep, kept, keptNames } from "./storage.js";
import { t } from "./words.js";

const KEPT = "pleinair.job."; // in this browser's storage, with an id: a job that runs

/**
 * Places an order and follows it to its end; resolves to the job, which then holds its `records`.
 * A job: { id, order, status, step, steps, eta, preview, previews, frames, position, wait, records, error, warnings };
 * `frames` are the pictures of a morph, which become one record. It is cancelled when `signal` is aborted.
 */
export async function paint(order, { quiet = false, signal } = {}) {
  const { title, seconds, ...asked } = order; // what the page alone needs
  const accepted = await getJson("jobs", {
    method: "POST",
    json: await withoutBlobs(asked),
    headers: { "Idempotency-Key": token() },
  });
  const job = newJob(accepted.id, order, quiet);
  Object.assign(job, { position: accepted.queue_position, wait: accepted.expected_wait_s });
  keep(KEPT + job.id, plain(order));
  if (!quiet) change({ shown: { kind: "job", id: job.id } });
  if (signal?.aborted) cancel(job);
  signal?.addEventListener("abort", () => isOver(job) || cancel(job));
  return followed(job);
}

/** A random name; crypto.randomUUID is missing where a page comes over plain HTTP from another machine. */
function token() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function newJob(id, order, quiet) {
  const job = {
    id,
    order,
    quiet,
    status: "queued",
    records: [],
    previews: [],
    frames: [],
    warnings: [],
    error: null,
    fetched: {},
  };
  change({ jobs: [...state.jobs, job], said: t("begun") });
  return job;
}

async function followed(job) {
  await follow(job);
  forget(KEPT + job.id);
  return job;
}

/** Follows the jobs that ran when the page was left. */
export function resumeJobs() {
  for (const name of keptNames(KEPT)) {
    const order = kept(name);
    if (order === null || typeof order !== "object") {
      forget(name);
      continue;
    }
    const job = newJob(name.slice(KEPT.length), order, false);
    change({ shown: { kind: "job", id: job.id } });
    followed(job);
  }
}

/** An order without its pictures, which that storage cannot hold: found again, such a job's record lacks them. */
function plain({ image, mask, control, ...order }) {
  return order;
}

export async function cancel(job) {
  job.cancelling = true;
  change({});
  try {
    await request(`jobs/${job.id}/cancel`, { method: "POST" });
  } catch (error) {
    job.cancelling = false;
    if ([404, 410].includes(error.status)) lose(job);
    else if (error.status !== 409) notify(told(error), "error");
    change({});
  }
}

export function putAway(job) {
  const shown = state.shown?.id === job.id ? null : state.shown;
  change({ jobs: state.jobs.filter((each) => each !== job), shown });
}
