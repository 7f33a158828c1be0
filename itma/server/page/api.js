// Speaks with the server; every failure becomes a Problem with a message for people.

export class Problem extends Error {
  constructor(code, message, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

const BASE = new URL("api/v1/", document.baseURI);
// What may go away by itself, so that trying again can help.
export const PASSING = new Set(["unreachable", "overloaded", "timeout", "busy", "slow_request", "catalogue_unavailable", "unavailable", "not_ready", "fault"]);
const AGAIN = 2; // times that a busy server is asked again

export async function call(path, { method = "GET", json, form, signal } = {}) {
  for (let turn = 0; ; turn += 1) {
    let answer;
    try {
      answer = await fetch(new URL(path, BASE), {
        method,
        signal,
        credentials: "same-origin",
        headers: json === undefined ? {} : { "Content-Type": "application/json" },
        body: json === undefined ? form : JSON.stringify(json),
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("unreachable", "The server cannot be reached. Is it running, and are you online?", 0);
    }
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    const wait = Number(answer.headers.get("Retry-After"));
    if (answer.status === 503 && wait > 0 && wait <= 5 && turn < AGAIN) {
      await new Promise((done) => setTimeout(done, 1000 * wait));
      if (signal?.aborted) throw new DOMException("", "AbortError");
      continue;
    }
    let problem = {};
    try {
      problem = (await answer.json()).error ?? {};
    } catch { /* not ours: a proxy's page, say */ }
    throw new Problem(problem.code ?? "unknown", problem.message ?? `The server answered with status ${answer.status}.`, answer.status);
  }
}

// Ids may hold bytes of file names that are no text; they travel as lone surrogates, which encodeURIComponent refuses.
export function encoded(id) {
  return id.replace(/[\udc80-\udcff]|[^\udc80-\udcff]+/g, (part) => {
    const code = part.charCodeAt(0);
    if (part.length === 1 && code >= 0xdc80 && code <= 0xdcff) return "%" + (code - 0xdc00).toString(16).toUpperCase();
    return encodeURIComponent(part.toWellFormed ? part.toWellFormed() : part);
  });
}

const unpaired = /[\ud800-\udbff][\udc00-\udfff]|[\udc80-\udcff]/;

export function thumbnail(id, size = 240) {
  const query = unpaired.test(id) && id.isWellFormed?.() === false ? encoded(id) : encodeURIComponent(id);
  return new URL(`item/thumbnail?size=${size}&id=${query}`, BASE).href;
}

export function imageAddress(id) {
  const query = id.isWellFormed?.() === false ? encoded(id) : encodeURIComponent(id);
  return new URL(`item/image?id=${query}`, BASE).href;
}

export const about = (signal) => call("catalogue", { signal });

export function browse({ where, after, limit }, signal) {
  const query = new URLSearchParams({ limit });
  if (after) query.set("after", after);
  if (Object.keys(where).length) query.set("where", JSON.stringify(where));
  return call(`items?${query}`, { signal });
}

function sent(path, { id, upload, ...request }, signal) {
  if (!upload) return call(path, { method: "POST", json: id === undefined ? request : { id, ...request }, signal });
  const form = new FormData();
  form.append("query", JSON.stringify(request));
  form.append("image", upload, "image");
  return call(`${path}/upload`, { method: "POST", form, signal });
}

export const search = (request, signal) => sent("search", request, signal);

export const explain = (request, signal) => sent("explain", request, signal);

export const unlock = (key) => call("session", { method: "POST", json: { key } });
