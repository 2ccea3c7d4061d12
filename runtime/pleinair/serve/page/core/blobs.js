/** Pictures as blobs: their addresses, sizes, copies and the text that carries them in JSON. */

const addresses = new WeakMap();

/** One address for a blob, for as long as the page is open. */
export function addressOf(blob) {
  if (!addresses.has(blob)) addresses.set(blob, URL.createObjectURL(blob));
  return addresses.get(blob);
}

export function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** The bytes of a data URL in base64; fetch would need a wider Content-Security-Policy. */
export function blobOf(url) {
  const [, type, text] = url.match(/^data:([^;,]*);base64,(.*)$/);
  return new Blob([Uint8Array.from(atob(text), (each) => each.charCodeAt(0))], { type });
}

/** `value` with a data URL, or what else is said, in place of each blob, however deep it lies. */
export async function withoutBlobs(value, instead = dataUrl) {
  if (value instanceof Blob) return instead(value);
  if (Array.isArray(value)) return Promise.all(value.map((each) => withoutBlobs(each, instead)));
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).map(async ([name, each]) => [name, await withoutBlobs(each, instead)]);
  return Object.fromEntries(await Promise.all(entries));
}

/** { bytes, type } of a blob. */
export async function bytesOf(blob) {
  return { bytes: await blob.arrayBuffer(), type: blob.type };
}

/** `value` with blobs in place of what `bytesOf` made of them. */
export function withBlobs(value) {
  if (Array.isArray(value)) return value.map(withBlobs);
  if (value === null || typeof value !== "object" || value instanceof Blob) return value;
  if (value.bytes instanceof ArrayBuffer) return new Blob([value.bytes], { type: value.type });
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, withBlobs(each)]));
}

export function makeCanvas(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

export function pngOf(canvas) {
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** A canvas with the picture, no side of it longer than `most`. Rejects what is no picture. */
export async function canvasOf(blob, most = 2048) {
  const picture = await createImageBitmap(blob);
  const scale = Math.min(1, most / Math.max(picture.width, picture.height));
  const canvas = makeCanvas(Math.round(picture.width * scale), Math.round(picture.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // what lies behind transparent pixels, as for the runtime
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return canvas;
}

/** What a record's file is called, without its suffix: the first words of its prompt, and its seed. */
export function fileName({ order, seed }) {
  const words = (order.title || order.prompt || "picture").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-");
  return `${words.slice(0, 48).replace(/^-|-$/g, "") || "picture"}${seed === null ? "" : `-${seed}`}`;
}

export function save(blob, name) {
  Object.assign(document.createElement("a"), { href: addressOf(blob), download: name }).click();
}
