// An evaluation by lives: how it goes on, live, and what it came to, with the numbers of all kinds of agents beside each other.
import { Chart } from "./chart.js";
import { ask, byId, count, h, life, say, significant, table, when } from "./common.js";

const name = decodeURIComponent(location.pathname.split("/")[2]);
const api = `/api/v1/evaluations/${encodeURIComponent(name)}`;
document.title = `${name} · lockstep`;
byId("name").textContent = name;
byId("log").checked = new URLSearchParams(location.search).get("log") === "1";
const dark = matchMedia("(prefers-color-scheme: dark)");
let shown = null;
let range = null;

/** How the evaluation goes on, a chart each. */
const PLOTS = [
  { key: "efficiency", title: "Efficiency so far", bounds: [0, 1], rules: [0.5, 1] },
  { key: "deaths", title: "Deaths so far", bounds: [0, 0], scaled: true },
  { key: "survival", title: "Survival", bounds: [0, 0], scaled: true },
].map((plot) => ({ ...plot, chart: new Chart(plot.title, zoom) }));
byId("charts").append(...PLOTS.map(({ chart }) => chart.element));

function zoom(from, to) {
  range = from == null || !(to > from) ? null : [from, to];
  draw();
}

/** The colours of the kinds, as names for the style sheet and the charts. */
function colour(kinds) {
  kinds.forEach(({ colours }, i) => {
    const own = colours ? colours[dark.matches ? "dark" : "light"] : getComputedStyle(document.documentElement).getPropertyValue(`--c${i % 8}`);
    document.documentElement.style.setProperty(`--kind${i}`, own);
  });
}

/** An element that has the colour of a kind. */
function coloured(element, i) {
  element.style.setProperty("--colour", `var(--kind${i})`);
  return element;
}

function draw() {
  const kinds = (shown.course ?? shown.results)?.kinds ?? [];
  colour(kinds);
  if (!shown.course) return;
  const begun = kinds.map((kind, i) => ({ ...kind, i })).filter(({ curve }) => curve?.steps.length);
  const log = byId("log").checked;
  for (const { chart, key, bounds, rules, scaled } of PLOTS) {
    const series = begun.map(({ name, curve, i }) => ({ name, x: curve.steps, y: curve[key], colour: `kind${i}` }));
    const isLog = Boolean(scaled) && log;
    chart.show(series, { axis: "timesteps", range, log: isLog, bounds: isLog ? null : bounds, rules });
  }
}

function showCourse(course) {
  byId("course").hidden = !course;
  byId("progress").hidden = !course;
  if (!course) return;
  const isOver = shown.life === "completed";
  const under = course.kinds.map(({ curve }) => curve?.steps.at(-1) ?? 0);
  const done = course.kinds.map(({ curve }, i) => (curve ? curve.run - 1 + under[i] / course.steps : 0));
  byId("progress").value = isOver ? 1 : done.reduce((sum, share) => sum + share, 0) / (course.runs * course.kinds.length);
  const row = ({ name, curve }, i) => {
    if (!curve?.steps.length) return [name, isOver ? "-" : "waits", "-", "-", "-", "-", "-", "-"];
    const isDone = curve.run === course.runs && under[i] === course.steps;
    const deaths = curve.deaths.at(-1);
    const state = isDone ? "done" : shown.life;
    const per1k = (1000 * deaths) / (under[i] * course.envs);
    return [name, state, `${curve.run} of ${course.runs}`, `${count(under[i])} of ${count(course.steps)}`, percent(curve.efficiency.at(-1)), count(deaths), significant(per1k), significant(curve.survival.at(-1))];
  };
  byId("now").replaceChildren(table(["mode", "state", ">run", ">steps", ">efficiency", ">deaths", ">deaths/1k", ">survival"], course.kinds.map(row)));
  byId("kinds").replaceChildren(...course.kinds.map(({ name }, i) => h("li", {}, coloured(h("i", {}), i), name)));
}

const percent = (value) => (value == null ? "-" : `${(100 * value).toFixed(1)} %`);

/** How the numbers of a measure are written. */
function written(measure) {
  if (measure.name.endsWith("efficiency")) return percent;
  return (value) => (value == null ? "-" : value.toFixed(measure.name === "deaths" ? 2 : 1));
}

/** Where numbers are on a scale, from 0 to 1: with 0, or in powers of ten where they differ by much. */
function scaleOf(measure, values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (measure.name === "survival" && low >= 1 && high > 20 * low) {
    const [from, to] = [Math.floor(Math.log10(low)), Math.log10(high)];
    return { base: 10 ** from, isLog: true, place: (value) => Math.max(0, (Math.log10(Math.max(value, 1e-9)) - from) / (to - from)) };
  }
  const [from, to] = measure.name.endsWith("efficiency") ? [0, 1] : [Math.min(0, low), Math.max(0, high)];
  return { base: 0, place: (value) => Math.min(1, Math.max(0, (value - from) / (to - from || 1))) };
}

/** A bar for each kind of agents, with the interval as a mark. */
function gauges(measure, kinds) {
  const text = written(measure);
  const all = kinds.map((kind) => kind.values[measure.name] ?? {});
  const scale = scaleOf(measure, all.flatMap(({ value, low, high }) => [value, low ?? value, high ?? value]).filter((value) => value != null));
  const part = (kind, from, to) => {
    const element = h("span", { class: kind });
    const [a, b] = [scale.place(from), scale.place(to)].sort((x, y) => x - y);
    element.style.left = `${100 * a}%`;
    element.style.width = `${100 * (b - a)}%`;
    return element;
  };
  const row = ({ name }, i) => {
    const { value, low, high } = all[i];
    const within = low == null ? null : h("span", { class: "quiet" }, ` [${text(low)}, ${text(high)}]`);
    const bar = value == null ? null : part("filled", scale.base, value);
    const mark = low == null ? null : part("interval", low, high);
    return coloured(h("li", {}, h("div", { class: "bar spread" }, h("span", {}, name), h("span", {}, text(value), within)), h("div", { class: "gauge", "aria-hidden": "true" }, bar, mark)), i);
  };
  return h("section", {}, h("h2", {}, measure.title, scale.isLog ? h("span", { class: "quiet" }, " (bars in powers of ten)") : null), h("ul", { class: "gauges" }, kinds.map(row)));
}

function showResults(results) {
  byId("results").hidden = !results;
  if (!results) return;
  const { measures, kinds, pair, collapse_ratio: ratio, energy_gap: gap } = results;
  const isOld = shown.course && shown.life !== "completed";
  const old = isOld ? `These are of the evaluation before, of ${when(results.time)}. ` : "";
  const compared = pair ? `${pair[0]} against ${pair[1]}: ${significant(ratio)} times the survival, an energy gap of ${gap.toFixed(1)} per 1000 steps.` : "";
  byId("headline").textContent = old + compared;
  // Of results without a course, or of another one, the places of the kinds are their own.
  const order = shown.course?.kinds.map(({ name }) => name) ?? kinds.map(({ name }) => name);
  const sorted = order.map((name) => kinds.find((kind) => kind.name === name)).filter(Boolean);
  byId("gauges").replaceChildren(...measures.map((measure) => gauges(measure, sorted)));
  byId("kinds-table").replaceChildren(table(
    ["mode", ">runs", ">steps of all agents", ">lives", ">deaths", "seeds"],
    sorted.map((kind) => [kind.name, kind.seeds.length, count(kind.steps), count(kind.lives), count(kind.deaths), kind.seeds.slice(0, 5).join(", ") + (kind.seeds.length > 5 ? "…" : "")])));
}

function show(evaluation) {
  shown = evaluation;
  const { course, results } = evaluation;
  const facts = {
    state: life(evaluation), environment: evaluation.env ?? "-", modes: (evaluation.modes ?? []).length, "last change": when(evaluation.time),
    ...(course ? { "environments at once": count(course.envs), "steps of each": count(course.steps), runs: course.runs } : {}),
  };
  byId("facts").replaceChildren(...Object.entries(facts).map(([title, value]) => h("div", {}, h("dt", {}, title), h("dd", {}, value))));
  byId("file").hidden = !evaluation.has_file;
  byId("file").href = `${api}/results`;
  byId("file").download = `${name}.json`;
  draw();
  showCourse(course);
  showResults(results);
  const states = {
    running: "It is being evaluated.", completed: "It is done.", failed: `It failed: ${evaluation.error}`, dead: "Its process is gone.",
    stale: "It has given no sign for two minutes.", damaged: `It is damaged: ${evaluation.error}`,
  };
  say(states[evaluation.life] ?? evaluation.life, ["failed", "dead", "damaged"].includes(evaluation.life));
}

const load = async () => show(await ask(api));

byId("log").addEventListener("change", () => {
  history.replaceState(null, "", byId("log").checked ? "?log=1" : location.pathname);
  draw();
});
dark.addEventListener("change", () => shown && draw());

/** Again soon while it goes on, else now and then. */
const later = () => setTimeout(async () => {
  if (!document.hidden) await load().catch(() => {});
  later();
}, shown?.life === "running" ? 2000 : 10_000);

try {
  await load();
  later();
} catch (error) {
  say(error.message, true);
}
