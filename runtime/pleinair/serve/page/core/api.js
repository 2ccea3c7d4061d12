/** Requests to the server, and its errors in one shape. */

import { change, state } from "./state.js";
import { sentence, t } from "./words.js";

const ROOT = "/api/v1";
const PATIENCE = 60_000; // milliseconds for an answer, in which a large picture is sent as well

/** `code` is the server's, or "unreachable" or "nonsense"; `message` ends with what can be done. */
export class ApiError extends Error {
  constructor(code, message, { status = 0, field = null, wait = null } = {}) {
    super(message);
    Object.assign(this, { code, status, field, wait });
  }
}

/** What the user is told of an error, whatever it is. */
export function told(error) {
  return error instanceof ApiError ? error.message : t("nonsense");
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
      signal: signal ?? AbortSignal.timeout(PATIENCE),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw away();
  }
  if (!state.reachable) change({ reachable: true });
  if (response.ok) return response;
  throw await refusal(response);
}

/** The error of a server that does not answer, or no longer. */
export function away() {
  if (state.reachable) change({ reachable: false });
  return new ApiError("unreachable", t("unreachable"));
}

export async function getJson(path, options) {
  const response = await request(path, options);
  const found = await response.json().catch(() => null);
  if (found === null || typeof found !== "object") throw new ApiError("nonsense", t("nonsense"));
  return found;
}

async function refusal(response) {
  const found = await response.json().catch(() => null);
  const { message, hint, code, field } = found?.error ?? {};
  const said = [message ?? t("refused", { status: response.status }), hint];
  const wait = Number(response.headers.get("Retry-After")) || null;
  const words = said.filter(Boolean).map(sentence).join(" ");
  return new ApiError(code ?? "refused", words, { status: response.status, field, wait });
}
