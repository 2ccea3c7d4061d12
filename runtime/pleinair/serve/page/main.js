/** Starts the page: what is kept in this browser, what the server can do, and the view of both. */

import { html, render } from "./vendored/htm-preact.js";
import { keepForm, restoreForm } from "./core/form.js";
import { openHistory } from "./core/history.js";
import { follow as followPreferences } from "./core/preferences.js";
import { resumeJobs } from "./core/painting.js";
import { stayConnected } from "./core/server.js";
import { state, subscribe } from "./core/state.js";
import { App } from "./views/app.js";

const root = document.getElementById("page");

function draw() {
  render(html`<${App} />`, root);
  const job = state.jobs.find((each) => each.status === "painting");
  document.title = job ? `${Math.round((100 * job.step) / job.steps)} % – pleinair` : "pleinair";
}

followPreferences();
restoreForm();
root.replaceChildren();
draw();
subscribe(draw);
subscribe(keepForm);
await Promise.all([openHistory(), stayConnected()]);
resumeJobs();
