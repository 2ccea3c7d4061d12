/** A series on the stage: its pictures in rows and columns, filling up one by one. */

import { html } from "../vendored/htm-preact.js";
import { addressOf, save } from "../core/blobs.js";
import { recordOf } from "../core/history.js";
import { isOver } from "../core/following.js";
import { run, sheetOf, stopSeries } from "../core/series.js";
import { change, state } from "../core/state.js";
import { duration, t } from "../core/words.js";

export function Sheet({ series }) {
  const made = series.cells.filter((cell) => recordOf(cell.record)).length;
  const running = state.jobs.find((each) => each.quiet && !isOver(each));
  const over = series.done || series.stop.signal.aborted || series.trouble;
  const missing = made < series.cells.length;
  return html`<div class="sheet">
    <div class="line">
      <h2>${series.title}</h2>
      <p role="status" class="hint">${t("ofAll", { made, all: series.cells.length })}${running?.eta > 0 ? ` · ${t("nextIn", { left: duration(running.eta) })}` : ""}</p>
      ${!over && html`<button type="button" class="stop" onClick=${stopSeries}>${t("cancel")}</button>`}
      ${over && missing && html`<button type="button" onClick=${() => run(series)}>${t("goOn")}</button>`}
      ${made > 1 && html`<button type="button" class="quiet" onClick=${async () => save(await sheetOf(series), "sheet.png")}>${t("saveSheet")}</button>`}
    </div>
    ${series.across ? html`<${Table} series=${series} running=${running} />` : html`<${Row} series=${series} running=${running} />`}
  </div>`;
}

function Row({ series, running }) {
  return html`<ol class="row-of-pictures">
    ${series.cells.map((cell) => html`<li><${Cell} cell=${cell} running=${running} /><span>${cell.label}</span></li>`)}
  </ol>`;
}

function Table({ series, running }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${series.title}>
      <table>
        <caption>${t("across")}: ${series.across}${series.down && `, ${t("downwards")}: ${series.down}`}</caption>
        <thead><tr>${series.down && html`<td></td>`}${series.columns.map((each) => html`<th scope="col">${each}</th>`)}</tr></thead>
        <tbody>
          ${series.rows.map(
            (row, y) => html`<tr>
            ${series.down && html`<th scope="row">${row}</th>`}
            ${series.columns.map((_, x) => html`<td><${Cell} cell=${series.cells[y * series.columns.length + x]} running=${running} /></td>`)}
          </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
}

function Cell({ cell, running }) {
  const record = recordOf(cell.record);
  if (record) {
    const show = () => change({ shown: { kind: "record", id: record.id } });
    return html`<button type="button" class="tile" aria-label=${cell.label} onClick=${show}><img src=${addressOf(record.blob)} alt="" /></button>`;
  }
  const mine = running?.order === cell.order;
  return html`<div class=${`tile blank ${mine ? "now" : ""}`}>${mine && running.preview && html`<img src=${running.preview} alt=${t("emerging")} />`}</div>`;
}
