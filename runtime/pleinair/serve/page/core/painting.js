/** Jobs: placed, followed step by step, cancelled, and found again after a reload or a restart of the server. */

import { getJson, request } from "./api.js";
import { withoutBlobs } from "./blobs.js";
import { events } from "./events.js";
import { keepRecord } from "./history.js";
import { refresh } from "./server.js";
import { change, notify, state } from "./state.js";
import { t } from "./words.js";

const ENDS = ["done", "failed", "cancelled"];
const KEPT = "pleinair.jobs"; // in this browser's storage: jobs that run
const FILM = 120; // previews kept of a job

/**
 * Places an order and follows it to its end; resolves to the job, which then holds its `records`.
 * A job: { id, order, status, step, steps, eta, preview, previews, frames, position, wait, records, error, warnings };
 * `frames` are the pictures of a morph, which become one record.
 */
export async function paint(order, { quiet = false } = {}) {
  const { title, seconds, ...asked } = order; // what the page alone needs
  const body = await withoutBlobs(asked);
  const accepted = await getJson("jobs", {
    method: "POST",
    json: body,
    headers: { "Idempotency-Key": crypto.randomUUID() },
  });
  const job = newJob(accepted.id, order, quiet);
  Object.assign(job, { position: accepted.queue_position, wait: accepted.expected_wait_s });
  if (!quiet) change({ shown: { kind: "job", id: job.id } });
  return follow(job);
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
  remember();
  return job;
}

/** Follows the jobs that ran when the page was left. */
export function resumeJobs() {
  const kept = JSON.parse(localStorage.getItem(KEPT) ?? "[]");
  for (const { id, order } of kept) {
    const job = newJob(id, order, false);
    change({ shown: { kind: "job", id } });
    follow(job);
  }
}

function remember() {
  const running = state.jobs.filter((each) => !isOver(each));
  localStorage.setItem(KEPT, JSON.stringify(running.map(({ id, order }) => ({ id, order: plain(order) }))));
}

/** An order without its pictures, which that storage cannot hold: found again, such a job's record lacks them. */
function plain({ image, mask, control, ...order }) {
  return order;
}

export function isOver(job) {
  return [...ENDS, "lost"].includes(job.status);
}

async function follow(job) {
  let last = null;
  for (let pause = 500; !isOver(job); pause = Math.min(2 * pause, 4000)) {
    try {
      for await (const event of events(`jobs/${job.id}/events`, last)) {
        last = event.id ?? last;
        pause = 500;
        await take(job, event);
      }
      if (!isOver(job)) await catchUp(job);
    } catch (error) {
      if (error.status === 404 || error.status === 410) lose(job);
    }
    if (!isOver(job)) await new Promise((resolve) => setTimeout(resolve, pause));
  }
  remember();
  await refresh();
  return job;
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
  Object.assign(job, { status: "painting", step, steps, eta });
  if (!preview) return;
  job.preview = preview.startsWith("data:")
    ? preview
    : `data:image/${preview.startsWith("/9j/") ? "jpeg" : "webp"};base64,${preview}`;
  if (job.previews.length < FILM) job.previews.push(job.preview);
}

/** Fetches a picture that is done, once, and puts it into the history. */
async function keep(job, { index, url, seed }) {
  if (job.fetched[index]) return;
  job.fetched[index] = true;
  const blob = await (await request(url)).blob();
  if (job.order.task === "morph") {
    job.frames[index] = blob;
    return;
  }
  const previews = job.previews.splice(0);
  job.records.push(await keepRecord({ job: job.id, index, seed, blob, order: job.order, previews }));
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

/** What became of a job whose events ended early. */
async function catchUp(job) {
  const answer = await getJson(`jobs/${job.id}`);
  if (answer.status === "done") await finish(job, answer);
  else if (ENDS.includes(answer.status)) Object.assign(job, { status: answer.status, error: answer.error });
  change({ jobs: [...state.jobs] });
}

function lose(job) {
  Object.assign(job, { status: "lost", error: { code: "lost", message: t("lost") } });
  change({ jobs: [...state.jobs] });
}

export async function cancel(job) {
  job.cancelling = true;
  change({});
  try {
    await request(`jobs/${job.id}/cancel`, { method: "POST" });
  } catch (error) {
    if (![404, 409, 410].includes(error.status)) notify(error.message, "error");
  }
}

export function putAway(job) {
  const shown = state.shown?.id === job.id ? null : state.shown;
  change({ jobs: state.jobs.filter((each) => each !== job), shown });
}
