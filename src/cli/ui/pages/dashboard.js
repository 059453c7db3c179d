// The dashboard of a group of runs: a tab for each, six panels over its updates, live, and a button that stops them all.
import { viewQuery } from "./board.js";
import { Chart } from "./chart.js";
import { act, ask, byId, count, duration, h, life, listen, pointed, runApi, runPage, say, significant, sure, worked } from "./common.js";

const asked = new URLSearchParams(location.search);
const group = asked.get("group");
const WEIGHT = 0.9; // of what was there before, as the curves are smoothed
const MOST_STATS = 3;
const FULL = 0.3; // the share at which a bar is full, if no action has more
const runs = new Map();
let shown = asked.get("run");
document.title = `${group ?? shown} · lockstep`;
byId("name").textContent = group ?? shown ?? "Dashboard";

/** What a panel shows of the metrics that a run has; a chart for each list of metrics. */
const PANELS = [
  { title: "Reward", of: pick("train/mean_episode_return") },
  { title: "Losses", of: pick("train/pg_loss", "train/vf_loss", "train/td_loss") },
  { title: "Entropy", of: pick("train/entropy"), weight: 0, bounds: [0, 0] },
  { title: "Explained variance", of: pick("train/explained_variance"), bounds: [0, 1] },
  // The shortest names are the plainest, and there may be more than there is room for. Where it matters what is eaten, that is shown.
  { title: "Behaviour", eats: true, of: (names) => names.filter((name) => name.startsWith("stats/")).sort((a, b) => a.length - b.length).slice(0, MOST_STATS) },
  { title: "Actions", of: (names) => names.filter((name) => name.startsWith("actions/")), bars: true },
];

function pick(...wanted) {
  return (names) => wanted.filter((name) => names.includes(name));
}

/** What agents eat in the environment of each run, by the run; null where that does not matter. */
const eaten = new Map();

async function eatenIn(id) {
  if (!eaten.has(id)) eaten.set(id, (await ask(runApi(id))).eaten);
  return eaten.get(id);
}

/** The charts of a panel, made once. */
const charts = new Map();
let range = null;
const chartOf = (name) => {
  if (!charts.has(name)) {
    charts.set(name, new Chart(name, (from, to) => {
      range = from == null ? null : [from, to];
      draw();
    }));
  }
  return charts.get(name);
};

/** The metrics of a panel, and the names of its charts where they are not those of the metrics. */
const metricsOf = ({ of, eats }, metrics, food) => (eats && food ? pick(food.good.metric, food.bad.metric)(metrics) : of(metrics));
const foodCharts = ({ good, bad }) => [`${good.name} and ${bad.name} in a step`, `share of ${good.name}`];

/** What is eaten, and the share of the good in it. */
function drawFood({ good, bad }, curves) {
  const [eaten, share] = foodCharts({ good, bad }).map(chartOf);
  const [a, b] = [good, bad].map(({ metric }) => curves[metric]);
  eaten.show([{ ...a, name: good.name, colour: "c2" }, { ...b, name: bad.name, colour: "c1" }], { axis: "update", weight: WEIGHT, bounds: [0, 0], range });
  const all = new Map(b.x.map((x, i) => [x, b.y[i]]));
  const points = a.x.map((x, i) => [x, a.y[i], all.get(x)]).filter(([, one, other]) => one + other > 0);
  share.show([{ x: points.map(([x]) => x), y: points.map(([, one, other]) => one / (one + other)), name: good.name, colour: "c0" }], { axis: "update", weight: WEIGHT, bounds: [0, 1], range });
}

/** Puts the panels there, unless they are: charts that stay keep the focus. */
function layOut(key, metrics, food) {
  const place = byId("charts");
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  place.replaceChildren(...PANELS.map((panel) => {
    const { title, bars, eats } = panel;
    const found = metricsOf(panel, metrics, food);
    const own = eats && food && found.length === 2 ? foodCharts(food) : found;
    const none = own.length ? null : h("p", { class: "quiet" }, "Nothing is known of it.");
    return h("section", {}, h("h2", {}, title), none, bars ? h("div", { id: "bars" }) : own.map((name) => chartOf(name).element));
  }));
}

/** Shares of actions, the newest of each. */
function drawBars(curves) {
  const shares = curves.map(([name, { y }]) => [name.slice(name.indexOf("/") + 1).replace(/_frac$/, ""), y.at(-1) ?? 0]);
  const full = Math.max(FULL, ...shares.map(([, share]) => share));
  byId("bars").replaceChildren(h("table", { class: "bars" }, h("tbody", {}, shares.map(([name, share]) => {
    const bar = h("meter", { min: 0, max: full, value: share, "aria-label": name });
    return h("tr", {}, h("th", { scope: "row" }, pointed(name)), h("td", {}, bar), h("td", { class: "number" }, `${(100 * share).toFixed(1)} %`));
  }))));
}

let drawing = false;
let again = false;

/** Draws the run of the tab; what is asked for meanwhile is drawn afterwards. */
async function draw() {
  if (drawing) {
    again = true;
    return;
  }
  drawing = true;
  try {
    const id = shown;
    const { metrics } = await ask(runApi(id, "/curves"));
    const food = await eatenIn(id);
    const names = PANELS.flatMap((panel) => metricsOf(panel, metrics, food));
    const { curves } = await ask(runApi(id, `/curves?${viewQuery(names, { axis: "update", range })}`));
    layOut([id, ...names].join(" "), metrics, food);
    for (const panel of PANELS) {
      const { weight, bounds, bars, eats } = panel;
      const own = metricsOf(panel, metrics, food);
      if (eats && food && own.length === 2) drawFood(food, curves);
      else if (bars) drawBars(own.map((name) => [name, curves[name]]));
      else own.forEach((name) => chartOf(name).show([{ ...curves[name], name, colour: "c0" }], { axis: "update", weight: weight ?? WEIGHT, bounds, range }));
    }
  } catch (error) {
    byId("charts").replaceChildren(h("p", { class: "warning" }, error.message));
  }
  drawing = false;
  if (again) {
    again = false;
    draw();
  }
}

const lives = (row) => ["running", "stale"].includes(row.life);

function status() {
  const row = runs.get(shown);
  if (!row) return;
  const facts = {
    state: life(row), run: h("a", { href: runPage(row.id) }, row.id), updates: `${count(row.update)} of ${count(row.num_updates)}`, steps: count(row.timesteps),
    episodes: count(row.episodes), return: significant(row.return), speed: `${count(row.steps_per_second)} steps/s`, time: duration(worked(row)),
  };
  byId("facts").replaceChildren(...Object.entries(facts).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  byId("progress").value = row.progress ?? 0;
  byId("stop").disabled = ![...runs.values()].some(lives);
}

/** A tab for each run; none for a single one. */
function tabs() {
  const ids = [...runs.keys()];
  const tab = (id) => h("button", { type: "button", role: "tab", "aria-selected": String(id === shown), tabindex: id === shown ? "0" : "-1", onclick: () => choose(id) }, id);
  byId("tabs").replaceChildren(...(ids.length > 1 ? ids.map(tab) : []));
}

function choose(id) {
  const had = byId("tabs").contains(document.activeElement);
  shown = id;
  range = null;
  charts.clear();
  tabs();
  if (had) byId("tabs").querySelector("[aria-selected=true]").focus();
  status();
  draw();
}

byId("tabs").addEventListener("keydown", ({ key }) => {
  const [ids, by] = [[...runs.keys()], { ArrowRight: 1, ArrowLeft: -1 }[key]];
  if (by) choose(ids[(ids.indexOf(shown) + by + ids.length) % ids.length]);
});

byId("stop").addEventListener("click", async () => {
  const live = [...runs.values()].filter(lives);
  if (!(await sure(`Stop ${live.map(({ id }) => id).join(", ")}? Each saves what it has learned and ends.`, "Stop training"))) return;
  try {
    await Promise.all(live.map(({ id }) => act(runApi(id, "/stop"))));
    say("Stop signal sent...");
  } catch (error) {
    say(error.message, true);
  }
});

function change({ rows }) {
  const before = runs.get(shown)?.update;
  rows.filter((row) => (group ? row.group === group : row.id === asked.get("run"))).forEach((row) => runs.set(row.id, row));
  if (!runs.size) return say(`There is no group ${group ?? ""} here.`, true);
  if (!runs.has(shown)) shown = [...runs.keys()][0];
  if (byId("tabs").children.length !== (runs.size > 1 ? runs.size : 0)) tabs();
  status();
  if (runs.get(shown).update !== before) draw();
}

try {
  change({ rows: (await ask("/api/v1/runs")).runs });
  if (runs.size) say(`${runs.size} ${runs.size > 1 ? "runs" : "run"}`);
  listen("/api/v1/events", change);
} catch (error) {
  say(error.message, true);
}
