/**
 * Calls the service under /v1 with the key of this tab. Every call is to the page's own origin.
 *
 * Writes carry an Idempotency-Key, so that a call repeated after a broken connection is done once. It draws nothing.
 */

import { session } from "./session.js";
import { problem } from "./words.js";

/** A problem that the service answered with, or a connection that failed (`code` is then "unreachable"). */
export class Problem extends Error {
  constructor(status, body) {
    super(problem(body.code, body.detail ?? body.title ?? `The service answered with ${status}.`));
    this.status = status;
    this.code = body.code ?? "unknown";
    this.context = body.context ?? {};
    this.requestId = body.instance ?? null;
  }
}

const listeners = new Set();

/** Has a function called when the service does not accept the key. */
export const onUnauthorized = (listener) => listeners.add(listener);

function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function query(parameters) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value === null || value === undefined || value === "") continue;
    for (const one of Array.isArray(value) ? value : [value]) given.append(name, String(one));
  }
  const text = given.toString();
  return text ? `?${text}` : "";
}

/** Returns the parts of a form; lists become repeated parts, nulls none. */
export function form(fields) {
  const made = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === undefined || value === "") continue;
    for (const one of Array.isArray(value) ? value : [value]) {
      // The name of a file is nobody's business but its owner's.
      if (one instanceof Blob) made.append(name, one, "photograph");
      else made.append(name, String(one));
    }
  }
  return made;
}

async function send(method, path, { body, headers = {}, signal, key = session.key } = {}) {
  const sent = { ...headers };
  if (key) sent.Authorization = `Bearer ${key}`;
  if (method !== "GET") sent["Idempotency-Key"] = newKey();
  let payload = body;
  if (body !== undefined && !(body instanceof FormData)) {
    payload = JSON.stringify(body);
    sent["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, { method, headers: sent, body: payload, signal, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { code: "unreachable", detail: "The service cannot be reached. Is it still running?" });
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  const failed = new Problem(answer.status, told);
  if (answer.status === 401) listeners.forEach((listener) => listener(failed));
  throw failed;
}

async function json(method, path, options) {
  const answer = await send(method, path, options);
  const value = answer.status === 204 ? null : await answer.json();
  if (value !== null && typeof value === "object" && answer.headers.has("ETag")) {
    Object.defineProperty(value, "etag", { value: answer.headers.get("ETag"), enumerable: false });
  }
  return value;
}

const c = (name) => `/v1/collections/${encodeURIComponent(name)}`;
const person = (name, id) => `${c(name)}/identities/${id}`;
const matching = (etag) => (etag ? { "If-Match": etag } : {});

export const api = {
  me: (key) => json("GET", "/v1/me", key ? { key } : {}),

  collections: (cursor, limit = 500) => json("GET", `/v1/collections${query({ cursor, limit })}`),
  addCollection: (name) => json("POST", "/v1/collections", { body: { name } }),
  removeCollection: (name) => json("DELETE", c(name)),

  people: (name, parameters, signal) => json("GET", `${c(name)}/identities${query(parameters)}`, { signal }),
  person: (name, id) => json("GET", person(name, id)),
  change: (name, id, changes, etag) => json("PATCH", person(name, id), { body: changes, headers: matching(etag) }),
  remove: (name, id, erase) => json("DELETE", `${person(name, id)}${query({ erase: erase || null })}`),
  merge: (name, id, into) => json("POST", `${person(name, id)}/merge`, { body: { into } }),
  faces: (name, id, parameters = {}) => json("GET", `${person(name, id)}/faces${query(parameters)}`),
  removeFace: (name, id, template) => json("DELETE", `${person(name, id)}/faces/${template}`),
  picture: async (name, id, template, signal) => (await send("GET", `${person(name, id)}/faces/${template}/picture`, { signal })).blob(),

  enroll: (name, fields) => json("POST", `${c(name)}/identities`, { body: form(fields) }),
  detect: (fields, signal) => json("POST", "/v1/detect", { body: form(fields), signal }),
  verify: (fields, signal) => json("POST", "/v1/verify", { body: form(fields), signal }),
  identify: (name, fields, signal) => json("POST", `${c(name)}/identify`, { body: form(fields), signal }),
  feedback: (name, fields) => json("POST", `${c(name)}/feedback`, { body: form(fields) }),

  takeBack: (name, id) => json("DELETE", `${c(name)}/feedback/${id}`),

  models: () => json("GET", "/v1/models"),
  operatingPoints: () => json("GET", "/v1/operating-points"),

  keys: (cursor) => json("GET", `/v1/keys${query({ cursor, limit: 500 })}`),
  addKey: (asked) => json("POST", "/v1/keys", { body: asked }),
  revokeKey: (id) => json("DELETE", `/v1/keys/${encodeURIComponent(id)}`),
  rotateKey: (id) => json("POST", `/v1/keys/${encodeURIComponent(id)}/rotate`, { body: {} }),
  audit: (parameters) => json("GET", `/v1/audit${query(parameters)}`),
  verifyAudit: () => json("POST", "/v1/audit/verify"),
};
