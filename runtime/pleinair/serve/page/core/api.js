/** Requests to the server, and its errors in one shape. */

import { change, state } from "./state.js";
import { sentence, t } from "./words.js";

const ROOT = "/api/v1";

/** `code` is the server's, or "unreachable"; `message` ends with what can be done. */
export class ApiError extends Error {
  constructor(code, message, { status = 0, field = null, wait = null } = {}) {
    super(message);
    Object.assign(this, { code, status, field, wait });
  }
}

/** The response to a request; ApiError where the server refuses or does not answer. */
export async function request(path, { method = "GET", json, body, headers = {}, signal } = {}) {
  const sent = { ...headers };
  if (json !== undefined) sent["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path.startsWith("/") ? path : `${ROOT}/${path}`, {
      method,
      headers: sent,
      body: json === undefined ? body : JSON.stringify(json),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (state.reachable) change({ reachable: false });
    throw new ApiError("unreachable", t("unreachable"));
  }
  if (!state.reachable) change({ reachable: true });
  if (response.ok) return response;
  throw await refusal(response);
}

export async function getJson(path, options) {
  return (await request(path, options)).json();
}

async function refusal(response) {
  const told = await response.json().then(
    (found) => found.error ?? {},
    () => ({}),
  );
  const said = [told.message ?? t("refused", { status: response.status }), told.hint];
  const message = said.filter(Boolean).map(sentence).join(" ");
  const wait = Number(response.headers.get("Retry-After")) || null;
  return new ApiError(told.code ?? "refused", message, { status: response.status, field: told.field, wait });
}
