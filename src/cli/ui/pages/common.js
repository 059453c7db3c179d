// What all pages share: elements, numbers for people, requests, and events of the server.
// Names and texts come from files that somebody else may have written, so they become text nodes, never HTML.

/** An element with attributes and children; a function under `onclick` and the like listens. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Says a line to the person. */
export function say(text, bad = false) {
  const place = byId("said");
  place.textContent = text;
  place.classList.toggle("bad", bad);
}

/** A number with about so many significant digits. */
export function significant(value, digits = 4) {
  if (value == null || Number.isNaN(value)) return "-";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e7) return value.toExponential(digits - 1);
  return Number(value.toPrecision(digits)).toString();
}

/** A count in a few characters: 999, 12.3k, 1.25M. */
export function count(value) {
  if (value == null) return "-";
  for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= 0.9995 * size) return (value / size).toPrecision(3) + unit;
  }
  return value.toFixed(0);
}

/** Two largest units of a duration: 1d 2h, 3m 4s. */
export function duration(seconds) {
  if (seconds == null || Number.isNaN(seconds)) return "-";
  const s = Math.max(0, Math.floor(seconds));
  const [d, hours, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  if (d) return `${d}d ${hours}h`;
  if (hours) return `${hours}h ${m}m`;
  return m ? `${m}m ${s % 60}s` : `${s}s`;
}

export const bytes = (n) => (n == null ? "-" : n < 1000 ? `${n} B` : `${count(n)}B`);
export const since = (time) => (time ? (Date.now() - Date.parse(time)) / 1000 : NaN);
export const when = (time) => (time ? new Date(time).toLocaleString() : "-");

/** The time a run has worked: to now while it lives. */
export const worked = (row) => row.duration_seconds ?? since(row.start_time);

export const runPage = (id) => `/runs/${encodeURIComponent(id)}`;
export const runApi = (id, rest = "") => `/api/v1/runs/${encodeURIComponent(id)}${rest}`;

/** What the server answers; an Error with its line if it refuses. */
export async function ask(url, options = {}) {
  const response = await fetch(url, options);
  const isJson = (response.headers.get("content-type") ?? "").includes("json");
  const body = isJson ? await response.json() : await response.text();
  if (!response.ok) throw new Error(body.detail ?? `${response.status} ${response.statusText}`);
  return body;
}

const token = document.querySelector("meta[name=lockstep-token]")?.content ?? "";

/** Asks for something to be done; what is sent along becomes JSON. */
export const act = (url, sent, method = "POST") =>
  ask(url, { method, headers: { "x-lockstep-token": token }, body: sent === undefined ? null : JSON.stringify(sent) });

/** Asks a second time, in the dialog of the page. */
export function sure(question, yes) {
  const dialog = byId("sure");
  byId("question").textContent = question;
  byId("yes").textContent = yes;
  dialog.showModal();
  // Not the dialog's event `close`: that of the question before may come only now.
  return new Promise((resolve) => {
    const asked = new AbortController();
    const answer = (isYes) => (asked.abort(), resolve(isYes));
    dialog.firstElementChild.addEventListener("submit", (event) => answer(event.submitter?.value === "yes"), { signal: asked.signal });
    dialog.addEventListener("cancel", () => answer(false), { signal: asked.signal });
  });
}

/** Events of the server, while the page is seen: a browser has few connections for all its pages. */
export function listen(url, change) {
  const shown = byId("connection");
  let source = null;
  const close = () => {
    source?.close();
    source = null;
  };
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource(url);
    source.addEventListener("open", () => (shown.textContent = "live"));
    source.addEventListener("change", (event) => change(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      shown.textContent = "not connected";
      if (source?.readyState === EventSource.CLOSED) {
        close();
        setTimeout(open, 5000);
      }
    });
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  open();
}

const ARROWS = { up: "↑", "up-right": "↗", right: "→", "down-right": "↘", down: "↓", "down-left": "↙", left: "←", "up-left": "↖" };

/** The name of an action, with an arrow where it is that of a direction. */
export const pointed = (name) => (ARROWS[name] ? `${ARROWS[name]} ${name}` : name);

/** A table of names and values. */
export function fields(object) {
  const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  const rows = Object.entries(object ?? {}).filter(([, value]) => value != null);
  return h("table", {}, h("tbody", {}, rows.map(([name, value]) =>
    h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "long" }, text(value))))));
}

/** A table with a head; each cell is a text, or [class, content]. */
export function table(head, rows) {
  const cell = (value, i) => {
    const number = head[i].startsWith(">") ? "number" : null;
    return h("td", { class: number }, value);
  };
  return h("table", {},
    h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col", class: name.startsWith(">") ? "number" : null }, name.replace(">", ""))))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell)))));
}

export const life = (row) => h("span", { class: `life ${row.life}`, title: row.error ?? null }, row.life);
