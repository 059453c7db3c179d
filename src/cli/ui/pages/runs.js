// The table of runs: live, with filters and sorting, all of which stand in the address so that they can be kept.
import { ask, byId, count, duration, h, life, listen, runPage, say, significant, since, worked } from "./common.js";

const COLUMNS = [
  { key: "run", title: "run", text: (r) => h("a", { href: runPage(r.id) }, r.id), value: (r) => r.id },
  { key: "life", title: "state", text: life },
  { key: "env", title: "env", wide: true, text: (r) => r.env ?? "-" },
  { key: "algo", title: "algo", wide: true, text: (r) => r.algo ?? "-" },
  { key: "seed", title: "seed", number: true, wide: true, text: (r) => r.seed ?? "-" },
  { key: "group", title: "group", wide: true, text: (r) => (r.group ? h("a", { href: `/compare?group=${encodeURIComponent(r.group)}` }, r.group) : "-") },
  { key: "timesteps", title: "timesteps", number: true, wide: true, text: (r) => (r.timesteps == null ? "-" : `${count(r.timesteps)}/${count(r.total_timesteps)}`) },
  { key: "progress", title: "done", number: true, text: (r) => (r.progress == null ? "-" : `${Math.floor(100 * r.progress)}%`) },
  { key: "return", title: "return", number: true, text: (r) => significant(r.return) },
  { key: "steps_per_second", title: "steps/s", number: true, wide: true, text: (r) => count(r.steps_per_second) },
  { key: "time", title: "time", number: true, wide: true, text: (r) => duration(worked(r)), value: worked },
  { key: "last_heartbeat", title: "last sign of life", number: true, wide: true, text: (r) => (r.last_heartbeat ? `${duration(since(r.last_heartbeat))} ago` : "-") },
];
const LIVES = ["running", "starting", "stale", "completed", "stopped", "failed", "dead", "damaged"];
const PAGE = 200;

const runs = new Map();
const chosen = new Set();
const state = { find: "", lives: new Set(), sort: "last_heartbeat", down: true, most: PAGE };

function readAddress() {
  const asked = new URLSearchParams(location.search);
  state.find = asked.get("find") ?? "";
  state.lives = new Set((asked.get("state") ?? "").split(",").filter((name) => LIVES.includes(name)));
  if (COLUMNS.some((column) => column.key === asked.get("sort"))) {
    state.sort = asked.get("sort");
    state.down = asked.get("down") === "1";
  }
}

function writeAddress() {
  const asked = new URLSearchParams();
  if (state.find) asked.set("find", state.find);
  if (state.lives.size) asked.set("state", [...state.lives].join(","));
  asked.set("sort", state.sort);
  if (state.down) asked.set("down", "1");
  history.replaceState(null, "", `?${asked}`);
}

function shown() {
  const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (row) => {
    const text = [row.id, row.env, row.algo, row.group, row.error].join(" ").toLowerCase();
    return words.every((word) => text.includes(word)) && (!state.lives.size || state.lives.has(row.life));
  };
  const column = COLUMNS.find(({ key }) => key === state.sort);
  const value = column.value ?? ((row) => row[column.key]);
  const sign = state.down ? -1 : 1;
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x == null || y == null) return (x == null) - (y == null); // what has no value comes last
    return sign * (typeof x === "number" ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true }));
  };
  return [...runs.values()].filter(fits).sort(compare);
}

function head() {
  const cells = COLUMNS.map(({ key, title, number, wide }) =>
    h("th", {
      scope: "col",
      class: [number && "number", wide && "wide"].filter(Boolean).join(" "),
      "aria-sort": state.sort === key ? (state.down ? "descending" : "ascending") : "none",
    }, h("button", { type: "button", onclick: () => sortBy(key) }, title)));
  document.querySelector("#runs thead tr").replaceChildren(h("th", { scope: "col" }, h("span", { title: "chosen to be compared" }, "✓")), ...cells);
}

function sortBy(key) {
  state.down = state.sort === key ? !state.down : false;
  state.sort = key;
  head();
  draw();
  document.querySelector(`#runs th[aria-sort=${state.down ? "descending" : "ascending"}] button`)?.focus();
}

function line(row) {
  const choose = h("input", {
    type: "checkbox",
    checked: chosen.has(row.id),
    "aria-label": `Compare ${row.id}`,
    onchange: (event) => {
      event.target.checked ? chosen.add(row.id) : chosen.delete(row.id);
      byId("compare").disabled = chosen.size === 0;
    },
  });
  const cells = COLUMNS.map(({ text, number, wide }) => h("td", { class: [number && "number", wide && "wide"].filter(Boolean).join(" ") }, text(row)));
  return h("tr", { "data-id": row.id }, h("td", {}, choose), cells);
}

function draw() {
  writeAddress();
  const rows = shown();
  const body = document.querySelector("#runs tbody");
  const focused = body.contains(document.activeElement) ? document.activeElement : null;
  const [id, tag] = [focused?.closest("tr")?.dataset.id, focused?.tagName];
  body.replaceChildren(...rows.slice(0, state.most).map(line));
  if (id) [...body.rows].find((tr) => tr.dataset.id === id)?.querySelector(tag)?.focus();
  byId("more").hidden = rows.length <= state.most;
  const live = [...runs.values()].filter((row) => row.life === "running").length;
  const hidden = rows.length < runs.size ? `, ${rows.length} of them shown` : "";
  say(runs.size ? `${runs.size} runs, ${live} running${hidden}` : "There are no runs here yet: lockstep train makes some.");
}

function filters() {
  const find = byId("find");
  find.value = state.find;
  find.addEventListener("input", () => {
    state.find = find.value;
    draw();
  });
  byId("lives").append(...LIVES.map((name) =>
    h("label", {}, h("input", {
      type: "checkbox",
      checked: state.lives.has(name),
      onchange: (event) => {
        event.target.checked ? state.lives.add(name) : state.lives.delete(name);
        draw();
      },
    }), ` ${name}`)));
  byId("more").addEventListener("click", () => {
    state.most += PAGE;
    draw();
  });
  byId("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    if (chosen.size) location.href = `/compare?${new URLSearchParams([...chosen].map((id) => ["run", id]))}`;
  });
}

function change({ rows, gone }) {
  gone.forEach((id) => runs.delete(id));
  rows.forEach((row) => runs.set(row.id, row));
  draw();
}

readAddress();
filters();
head();
try {
  change({ rows: (await ask("/api/v1/runs")).runs, gone: [] });
  listen("/api/v1/events", change);
} catch (error) {
  say(error.message, true);
}
setInterval(() => !document.hidden && draw(), 10_000);
