/** Starts the page: what is kept in this browser, what the server can do, and the view of both. */

import { html, render } from "./vendored/htm-preact.js";
import { openHistory } from "./core/history.js";
import { follow as followPreferences } from "./core/preferences.js";
import { resumeJobs } from "./core/painting.js";
import { stayConnected } from "./core/server.js";
import { subscribe } from "./core/state.js";
import { App } from "./views/app.js";

const root = document.getElementById("page");
const draw = () => render(html`<${App} />`, root);

followPreferences();
root.replaceChildren();
draw();
subscribe(draw);
await Promise.all([openHistory(), stayConnected()]);
resumeJobs();
