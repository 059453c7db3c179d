// Runs and groups over each other. What is compared stands in the address: run=A&run=B&group=G.
import { Board, viewQuery } from "./board.js";
import { ask, byId, h, runPage, say, table } from "./common.js";

const COLOURS = 8;
const asked = () => new URLSearchParams(location.search);
const subjects = () => [...asked().getAll("run").map((name) => ["run", name]), ...asked().getAll("group").map((name) => ["group", name])];
const query = (view, metrics = []) => `/api/v1/compare?${new URLSearchParams(subjects())}&${viewQuery(metrics, view)}`;

const board = new Board(byId("charts"), byId("controls"), async (names, view) => {
  const { curves, subjects } = await ask(query(view, names));
  const series = (curve, i) => ({ ...curve, name: subjects[i].name, colour: `c${i % COLOURS}` });
  return Object.fromEntries(Object.entries(curves).map(([name, all]) => [name, all.map(series).filter(({ x }) => x.length)]));
});

/** Writes what is compared into the address, and begins anew. */
function go(list) {
  const kept = asked();
  kept.delete("run");
  kept.delete("group");
  list.forEach(([kind, name]) => kept.append(kind, name));
  location.search = kept;
}

function legend(found) {
  byId("subjects").replaceChildren(...found.map(({ name, runs }, i) => {
    const mark = h("i", {});
    mark.style.setProperty("--colour", `var(--c${i % COLOURS})`);
    const isRun = subjects()[i][0] === "run";
    const label = isRun ? h("a", { href: runPage(name) }, name) : `${name} (mean of ${runs.length} runs, with its 95 % interval)`;
    const others = subjects().filter((_, place) => place !== i);
    return h("li", {}, mark, label, h("button", { type: "button", class: "quiet", "aria-label": `Leave out ${name}`, onclick: () => go(others) }, "✕"));
  }));
}

async function show() {
  if (!subjects().length) {
    say("Choose runs here or in the table of runs. A group is drawn as the mean of its runs.");
    return;
  }
  const found = await ask(query({ axis: "timesteps" }));
  legend(found.subjects);
  board.metrics(found.metrics);
  const rows = found.settings.map(({ name, values }) => [name, ...values]);
  byId("settings").replaceChildren(rows.length
    ? table(["setting", ...found.subjects.map(({ name }) => name)], rows)
    : found.subjects.length > 1 ? "They have the same settings." : "There is nothing to compare it with.");
}

byId("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = byId("which").value.trim();
  const kind = known.get(name);
  kind ? go([...subjects(), [kind, name]]) : say(`There is no run or group ${name}.`, true);
});

const known = new Map();
try {
  const [{ runs }] = await Promise.all([ask("/api/v1/runs"), show()]);
  for (const row of runs) {
    if (row.group) known.set(row.group, "group");
  }
  for (const row of runs) known.set(row.id, "run");
  byId("known").append(...[...known].map(([name, kind]) => h("option", { value: name }, kind)));
} catch (error) {
  say(error.message, true);
}
