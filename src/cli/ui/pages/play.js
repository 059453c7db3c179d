// A game played by hand, against an agent or with one that looks on. The server holds the game and its rules; here are its picture and the keys.
import { act, ask, byId, h, pointed, say, significant } from "./common.js";
import { lines, showDrawing } from "./picture.js";

const API = "/api/v1/play";
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const MOST_PACE = 20; // steps per second of an agent that is watched

let offered = { environments: [], runs: [] };
let game = null; // its id
let about = null; // what stays the same
let position = null; // what there is to see now
let chosen = 0;
let thinks = false;
let watching = false;
let last = Promise.resolve(); // one request after the other

// What can be played

const envOf = (name) => offered.environments.find((env) => env.name === name);

function fillAgents(wanted) {
  const env = envOf(byId("env").value);
  const option = (value, text) => h("option", { value, selected: value === wanted }, text);
  const runs = offered.runs.filter((run) => run.env === env?.name);
  byId("agent").replaceChildren(
    h("optgroup", { label: "Players" }, (env?.opponents ?? []).map((name) => option(`player:${name}`, name))),
    ...(runs.length ? [h("optgroup", { label: "Runs" }, runs.map((run) => option(`run:${run.id}`, run.id)))] : []));
  byId("side").hidden = env?.players !== 2;
}

function fill() {
  const asked = new URLSearchParams(location.search);
  const run = offered.runs.find((run) => run.id === asked.get("run"));
  const env = run?.env ?? asked.get("env");
  const name = (env) => h("option", { value: env.name, selected: env.name === chosenEnv }, `${env.name}${env.players === 2 ? " (for two)" : ""}`);
  const forTwo = offered.environments.find((env) => env.players === 2);
  const chosenEnv = envOf(env)?.name ?? forTwo?.name ?? offered.environments[0]?.name;
  byId("env").replaceChildren(...offered.environments.map(name));
  fillAgents(run ? `run:${run.id}` : `player:${asked.get("player")}`);
  ["env", "agent", "begin"].forEach((id) => (byId(id).disabled = false));
}

// Requests

/** Asks for something after all that was asked before, and shows what comes of it. */
function then(does) {
  last = last.then(does).catch((error) => {
    watch(false);
    say(error.message, true);
  });
  return last;
}

const send = (path, body) => act(`${API}/${game}${path}`, body);

/** Begins what the form says. */
const begin = () => then(async () => {
  const [kind, ...rest] = byId("agent").value.split(":");
  const name = rest.join(":");
  const who = kind === "run" ? { run: name } : { env: byId("env").value, player: name };
  const side = envOf(byId("env").value)?.players === 2 && byId("second").value === "1";
  if (game) act(`${API}/${game}`, undefined, "DELETE").catch(() => {}); // it may have ended
  game = null;
  byId("table").hidden = true;
  say("Preparing the game…");
  const opened = await act(API, { ...who, second: side, stochastic: byId("stochastic").checked });
  history.replaceState(null, "", `?${new URLSearchParams({ ...who, game: opened.id })}`);
  await enter(opened.id);
});

/** The possible action that is nearest to one; that one if there is none. */
function nearestLegal(action) {
  const far = (other) => Math.abs(other - action);
  const legal = position.legal.flatMap((possible, other) => (possible ? [other] : []));
  return legal.reduce((best, other) => (far(other) < far(best) ? other : best), legal[0] ?? action);
}

/** Shows a game as soon as it is prepared. */
async function enter(id) {
  let told = { ready: false };
  while (!told.ready) {
    told = await ask(`${API}/${id}`);
    if (!told.ready) say("Preparing the game: its programs are compiled, which takes a while the first time…");
  }
  [game, about, position] = [id, told.about, told.position];
  chosen = nearestLegal(Math.floor(about.actions.length / 2));
  byId("table").hidden = false;
  document.title = `${about.env} · lockstep`;
  byId("name").textContent = about.players === 2 ? `${about.env} against ${about.agent}` : `${about.env} with ${about.agent}`;
  byId("second").value = position.person === 1 ? "1" : "";
  const moves = isWalked() ? "arrow keys move, digits choose an action and Enter plays it" : "arrow keys and digits choose an action, Enter plays it";
  byId("keys").textContent = `Keys: ${moves}, a plays the agent's, space lets it play, v shows what it thinks, u takes back, n begins a new game.`;
  show();
  byId("board").focus({ preventScroll: true });
}

const move = (action) => then(async () => {
  if (!game || position.over) return;
  if (action != null && !position.legal[action]) return say(`${about.actions[action].name} is not possible now.`, true);
  ({ position } = await send("/move", action == null ? {} : { action }));
  show();
});

const undo = () => then(async () => {
  if (!game) return;
  ({ position } = await send("/undo"));
  show("Taken back. ");
});

const anew = () => then(async () => {
  if (!game) return;
  ({ position } = await send("/new", { second: byId("second").value === "1" }));
  show("A new game. ");
});

// What is seen

const percent = (x) => `${(100 * x).toFixed(x > 0 && x < 0.1 ? 1 : 0)}%`;
const isWalked = () => about.actions.some((action) => action.direction);

/** What the agent thinks of an action, in a line or two. */
function thought(action) {
  const { probabilities, values } = position.thinks;
  if (!thinks || position.over || !position.legal[action]) return [];
  return [percent(probabilities[action]), ...(values ? [significant(values[action], 3)] : [])];
}

function show(before = "") {
  const labels = about.actions.map((_, action) => thought(action));
  const cursor = position.over || isWalked() ? null : chosen;
  showDrawing(byId("board"), position.drawing, { legal: position.over ? [] : position.legal, chosen: cursor, labels, act: move });
  byId("legend").replaceChildren(...lines(position.drawing.facts));
  byId("facts").replaceChildren(...Object.entries(facts()).filter(([, value]) => value != null).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value)))));
  showActions();
  byId("table").dataset.steps = position.steps;
  byId("undo").disabled = !position.steps;
  byId("step").disabled = byId("watch").disabled = position.over;
  say(before + sentence());
}

function facts() {
  const { thinks: agent, happened, paid, person } = position;
  const reward = happened.length ? significant(happened.reduce((sum, made) => sum + made.rewards[person], 0)) : null;
  const events = happened.flatMap((made) => made.events);
  const mind = thinks && !position.over
    ? { "the agent would play": about.actions[agent.action].name, "value of the position": agent.value == null ? "it tells none" : significant(agent.value) }
    : {};
  return {
    ...mind, step: position.steps, return: significant(paid[person]), "last reward": reward,
    you: about.players === 2 ? (person === 0 ? "the first player" : "the second player") : null, events: events.join(", ") || null, seed: position.seed,
  };
}

/** All actions as buttons, with what the agent thinks of them. */
function showActions() {
  const focused = document.activeElement?.dataset?.action;
  const list = byId("actions");
  list.replaceChildren(...about.actions.map(({ name, does }, action) => {
    const possible = !position.over && position.legal[action];
    const said = thought(action);
    const bar = said.length ? [h("meter", { min: 0, max: 1, value: position.thinks.probabilities[action], "aria-hidden": "true" }), h("span", { class: "quiet" }, said.join(" · "))] : [];
    const chosenNow = action === chosen && !position.over;
    return h("button", { type: "button", class: chosenNow ? "chosen" : null, title: does || null, disabled: !possible, "data-action": action, onclick: () => move(action) }, h("span", {}, pointed(name)), ...bar);
  }));
  const marked = list.querySelector(".chosen");
  if (marked) list.scrollTop = Math.max(0, marked.offsetTop - list.offsetTop - list.clientHeight / 2);
  if (focused != null) list.querySelector(`[data-action="${focused}"]:enabled`)?.focus({ preventScroll: true });
}

/** What is said after a move: who did what, and whose turn it is or how it ended. */
function sentence() {
  const alone = about.players === 1;
  const told = ({ player, name, rewards }) => (alone ? `${name}, reward ${significant(rewards[0])}.` : player === position.person ? `${name}.` : `${about.agent} plays ${name}.`);
  const said = position.happened.map(told);
  const end = position.over ? ` ${position.result[0].toUpperCase()}${position.result.slice(1)}.` : alone ? "" : " It is your turn.";
  return (said.slice(-2).join(" ") + end).trim() || "It is your turn.";
}

// Keys, buttons and time

function choose(action) {
  const count = about.actions.length;
  chosen = (action + count) % count;
  show();
  if (byId("board").contains(document.activeElement) || document.activeElement === document.body) byId("board").focus({ preventScroll: true });
  const possible = position.legal[chosen] ? "" : ", which is not possible now";
  say(`${about.actions[chosen].name}${possible}${thought(chosen).length ? `: ${thought(chosen).join(", ")}` : ""}`);
}

function toggle() {
  thinks = !thinks;
  byId("thoughts").setAttribute("aria-pressed", thinks);
  show();
}

function watch(on) {
  const begins = on && !watching;
  watching = on;
  byId("watch").setAttribute("aria-pressed", on);
  if (begins) go();
}

/** Has the agent play at the pace of the game until it is over or somebody stops it. */
async function go() {
  while (watching && game && !position.over) {
    const due = performance.now() + 1000 / Math.min(about.pace, MOST_PACE);
    await move(null);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())));
  }
  watch(false);
}

function press(event) {
  if (!game || event.ctrlKey || event.altKey || event.metaKey) return;
  const { key, target } = event;
  if (target.matches("select, input")) return;
  if (target.matches("button, a, summary") && ["Enter", " "].includes(key)) return;
  const direction = ARROWS[key];
  const walks = direction && about.actions.findIndex((action) => action.direction && action.direction.every((part, i) => part === direction[i]));
  const does = direction
    ? (isWalked() ? (walks >= 0 ? () => move(walks) : null) : () => choose(chosen + direction[0] + direction[1]))
    : /^[0-9]$/.test(key)
      ? (Number(key) < about.actions.length ? () => choose(Number(key)) : null)
      : { Enter: () => move(chosen), a: () => move(null), " ": () => watch(!watching), v: toggle, u: undo, n: anew }[key];
  if (!does) return;
  event.preventDefault();
  if (key !== " ") watch(false);
  does();
}

addEventListener("keydown", press);
byId("new").addEventListener("click", anew);
byId("undo").addEventListener("click", undo);
byId("thoughts").addEventListener("click", toggle);
byId("step").addEventListener("click", () => move(null));
byId("watch").addEventListener("click", () => watch(!watching));
byId("env").addEventListener("change", () => fillAgents());
byId("setup").addEventListener("submit", (event) => {
  event.preventDefault();
  watch(false);
  begin();
});

try {
  offered = await ask(API);
  fill();
  const asked = new URLSearchParams(location.search);
  if (asked.get("game")) await enter(asked.get("game")).catch(() => begin());
  else if (asked.get("run") || asked.get("env")) await begin();
  else say("Choose a game and an agent, and begin.");
} catch (error) {
  say(error.message, true);
}
