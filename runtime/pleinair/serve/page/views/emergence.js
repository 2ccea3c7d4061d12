/** Frames one after the other, to look at and to save as a film: those of a morph, or how a picture came out of the noise. */

import { html, useEffect, useRef, useState } from "../vendored/htm-preact.js";
import { addressOf, fileName, makeCanvas, save } from "../core/blobs.js";
import { t } from "../core/words.js";

const PACE = 120; // milliseconds a step
const MORPH_S = 4; // that a morph takes where nothing is said
const FILMS = ["video/webm", "video/mp4"]; // the second where a browser does not record the first
const LAST = 10; // steps that the finished picture stays

export function Emergence({ record, shape, onEnd }) {
  const morph = record.frames?.length > 0;
  const frames = (morph ? record.frames : [...record.previews, record.blob]).map(addressOf);
  const pace = morph ? (1000 * (record.order.seconds ?? MORPH_S)) / frames.length : PACE;
  const [at, setAt] = useState(0);
  const [playing, setPlaying] = useState(true);
  useEffect(() => {
    if (!playing) return undefined;
    const timer = setTimeout(
      () => (at < frames.length - 1 || morph ? setAt((at + 1) % frames.length) : setPlaying(false)),
      pace,
    );
    return () => clearTimeout(timer);
  }, [at, playing]);
  return html`<div class="canvas" style=${shape}><img src=${frames[at]} alt=${morph ? record.order.title : t("emerging")} /></div>
    <div class="line player">
      <button type="button" onClick=${() => (setAt(playing || at < frames.length - 1 ? at : 0), setPlaying(!playing))}>${playing ? t("pause") : t("play")}</button>
      <input type="range" aria-label=${t("progress")} min="0" max=${frames.length - 1} value=${at} onInput=${(event) => (setPlaying(false), setAt(event.target.valueAsNumber))} />
      <${Filming} record=${record} frames=${frames} pace=${pace} still=${morph ? 0 : LAST} />
      ${!morph && html`<button type="button" class="quiet" onClick=${onEnd}>${t("close")}</button>`}
    </div>`;
}

function Filming({ record, frames, pace, still }) {
  const [busy, setBusy] = useState(false);
  const alive = useRef(true);
  useEffect(() => () => (alive.current = false), []);
  const type = window.MediaRecorder && FILMS.find((each) => MediaRecorder.isTypeSupported(each));
  if (!type) return null;
  const film = async () => {
    setBusy(true);
    const blob = await filmed(record, [...frames, ...Array(still).fill(frames.at(-1))], pace, type);
    save(blob, `${fileName(record)}.${type.split("/")[1]}`);
    if (alive.current) setBusy(false);
  };
  return html`<button type="button" class="quiet" disabled=${busy} onClick=${film}>${busy ? t("filming") : t("saveFilm")}</button>`;
}

/** The frames as a film, drawn and recorded in real time. */
async function filmed(record, frames, pace, type) {
  const canvas = makeCanvas(record.width, record.height);
  const context = canvas.getContext("2d");
  const recorder = new MediaRecorder(canvas.captureStream(25), { mimeType: type });
  const parts = [];
  recorder.ondataavailable = (event) => parts.push(event.data);
  const ended = new Promise((resolve) => (recorder.onstop = resolve));
  recorder.start();
  for (const source of frames) {
    const picture = new Image();
    picture.src = source;
    await picture.decode();
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    await new Promise((resolve) => setTimeout(resolve, pace));
  }
  recorder.stop();
  await ended;
  return new Blob(parts, { type });
}
