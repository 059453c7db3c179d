// One run: its curves, what it warns of, what it has saved and says of itself, and the two buttons.
import { Board, viewQuery } from "./board.js";
import { act, ask, byId, bytes, count, duration, fields, h, life, listen, runApi, say, significant, since, sure, table, when, worked } from "./common.js";

const id = decodeURIComponent(location.pathname.split("/")[2]);
const MOST_EVALUATIONS = 50;
document.title = `${id} · lockstep`;
byId("name").textContent = id;

const board = new Board(byId("charts"), byId("controls"), async (names, view) => {
  const { curves } = await ask(runApi(id, `/curves?${viewQuery(names, view)}`));
  const series = ([name, { x, y }]) => [name, [{ x, y, name: id, colour: "c0" }]];
  return Object.fromEntries(Object.entries(curves).map(series));
});

function showStatus(row) {
  const of = (done, all) => (done == null ? "-" : `${count(done)} of ${count(all)}`);
  const group = row.group && h("a", { href: `/compare?group=${encodeURIComponent(row.group)}` }, row.group);
  const dashboard = h("a", { href: `/dashboard?${new URLSearchParams(row.group ? { group: row.group, run: id } : { run: id })}` }, "show");
  const facts = {
    state: life(row), environment: row.env, algorithm: row.algo, seed: row.seed, group,
    timesteps: of(row.timesteps, row.total_timesteps), updates: of(row.update, row.num_updates), episodes: row.episodes == null ? null : count(row.episodes),
    return: significant(row.return), speed: row.steps_per_second == null ? null : `${count(row.steps_per_second)} steps/s`, time: duration(worked(row)),
    "last sign of life": row.last_heartbeat ? `${duration(since(row.last_heartbeat))} ago` : null,
    process: row.pid == null ? null : `${row.pid} on ${row.host}`, memory: row.memory_bytes == null ? null : bytes(row.memory_bytes),
    dashboard,
    "device memory": row.device_memory_bytes == null ? null : bytes(row.device_memory_bytes),
  };
  const shown = Object.entries(facts).filter(([, value]) => value != null && value !== "");
  byId("facts").replaceChildren(...shown.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  byId("progress").value = row.progress ?? 0;
  const lives = ["running", "stale"].includes(row.life);
  byId("save").disabled = byId("stop").disabled = !lives;
  if (row.error) say(row.error, true);
}

function showRest(run) {
  showStatus(run.status);
  if (!run.status.error) say(run.directory);
  byId("play").hidden = run.players == null;
  byId("play").textContent = run.players === 2 ? "Play against this agent" : "Play with this agent";
  byId("play").href = `/play?run=${encodeURIComponent(id)}`;
  const hidden = run.num_warnings - run.warnings.length;
  byId("health").replaceChildren(run.warnings.length
    ? h("ul", {}, run.warnings.map((line) => h("li", { class: "warning" }, line.replace(/^warning: /, ""))), hidden ? h("li", {}, `${hidden} earlier ones are in warnings.jsonl`) : null)
    : "It has warned of nothing.");
  byId("replays").hidden = !run.replays.length;
  const play = ({ id: name }) => h("a", { href: `${location.pathname}/replays/${encodeURIComponent(name)}` }, name);
  byId("replays").querySelector(".scroll").replaceChildren(table(
    ["replay", ">window", ">return", ">steps", "tags", "made"],
    run.replays.map((replay) => [play(replay), replay.window_id ?? "-", significant(replay.return_total), replay.steps ?? "-", (replay.tags ?? []).join(", "), when(replay.created_at ?? replay.modified)])));
  byId("checkpoints").replaceChildren(run.checkpoints.length
    ? table(["checkpoint", ">size", "saved", "parameters"], run.checkpoints.map((file) => [file.name, bytes(file.bytes), when(file.modified), file.has_params ? "beside it" : "-"]))
    : "There is none yet.");
  byId("settings").replaceChildren(run.config ? fields(run.config) : h("p", { class: "warning" }, run.config_error ?? "They cannot be read."));
  byId("origin").replaceChildren(run.meta ? fields(run.meta) : "It does not say.");
  const open = (name) => h("button", { type: "button", onclick: () => showFile(name) }, "Show the end");
  const load = (name) => h("a", { href: runApi(id, `/files/${encodeURIComponent(name)}`), download: name }, name);
  byId("files").replaceChildren(table(["file", ">size", "written", ""], run.files.map((file) => [load(file.name), bytes(file.bytes), when(file.modified), open(file.name)])));
}

async function showFile(name) {
  const place = byId("text");
  try {
    place.textContent = (await ask(runApi(id, `/files/${encodeURIComponent(name)}?tail=20000`))) || "It is empty.";
  } catch (error) {
    place.textContent = error.message;
  }
  place.hidden = false;
  place.scrollTop = place.scrollHeight;
  place.focus();
}

/** The evaluations as rows; each metric of them is a curve as well. */
async function showEvaluations(metrics) {
  const names = metrics.filter((name) => name.startsWith("eval/")).slice(0, 12);
  byId("evaluations").hidden = !names.length;
  if (!names.length) return;
  const { curves } = await ask(runApi(id, `/curves?${viewQuery(names, { axis: "timesteps" })}&points=4000`));
  const rows = new Map();
  for (const name of names) {
    (curves[name]?.x ?? []).forEach((x, i) => rows.set(x, { ...rows.get(x), [name]: curves[name].y[i] }));
  }
  const newest = [...rows].sort(([a], [b]) => b - a).slice(0, MOST_EVALUATIONS);
  const cells = newest.map(([x, row]) => [count(x), ...names.map((name) => significant(row[name]))]);
  byId("evaluations").querySelector(".scroll").replaceChildren(table([">timesteps", ...names.map((name) => `>${name.slice(5)}`)], cells));
}

async function showCurves() {
  try {
    const { metrics } = await ask(runApi(id, "/curves"));
    board.metrics(metrics);
    board.refresh();
    if (!metrics.length) byId("charts").replaceChildren("It has logged nothing yet.");
    await showEvaluations(metrics);
  } catch (error) {
    byId("charts").replaceChildren(h("p", { class: "warning" }, error.message));
  }
}

function button(name, question, yes) {
  byId(name).addEventListener("click", async () => {
    if (!(await sure(question, yes))) return;
    try {
      say((await act(runApi(id, `/${name}`))).said);
    } catch (error) {
      say(error.message, true);
    }
  });
}

button("stop", `Stop ${id}? It saves a checkpoint and ends; train --resume goes on with it.`, "Stop it");
button("save", `Have ${id} save a checkpoint now?`, "Save now");

const load = async () => showRest(await ask(runApi(id)));
try {
  await load();
  showCurves();
  listen(`/api/v1/events?run=${encodeURIComponent(id)}`, ({ rows, gone, logged }) => {
    if (gone.length) say("The run is not there any more.", true);
    if (rows.length) showStatus(rows[0]);
    if (logged) showCurves();
  });
  setInterval(() => !document.hidden && load().catch(() => {}), 30_000);
} catch (error) {
  say(error.message, true);
  document.querySelectorAll("main section, #facts, #progress, #actions").forEach((part) => (part.hidden = true));
}
