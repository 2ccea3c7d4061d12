/** A picture from the camera. */

import { html, useEffect, useRef, useState } from "../vendored/htm-preact.js";
import { makeCanvas, pngOf } from "../core/blobs.js";
import { useAsStart } from "../core/start.js";
import { t } from "../core/words.js";

export function Camera({ onTaken }) {
  const video = useRef();
  const [trouble, setTrouble] = useState(null);
  useEffect(() => {
    let stream = null;
    let left = false;
    const show = async () => {
      try {
        stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
        if (left) return stop(stream);
        video.current.srcObject = stream;
        await video.current.play();
      } catch {
        if (!left) setTrouble(t("noCamera"));
      }
    };
    show();
    return () => {
      left = true;
      if (stream) stop(stream);
    };
  }, []);
  const take = async () => {
    const { videoWidth, videoHeight } = video.current;
    const canvas = makeCanvas(videoWidth, videoHeight);
    canvas.getContext("2d").drawImage(video.current, 0, 0);
    await useAsStart(await pngOf(canvas));
    onTaken();
  };
  if (trouble) return html`<p role="alert">${trouble}</p>`;
  return html`<video class="camera" ref=${video} muted playsinline aria-label=${t("camera")}></video>
    <button type="button" class="main" onClick=${take}>${t("takePicture")}</button>`;
}

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}
