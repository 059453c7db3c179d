// A replay, forwards and backwards: the pictures that were recorded, what was done, and what happened.
import { ask, byId, h, pointed, runApi, runPage, say, significant } from "./common.js";
import { lines, showDrawing } from "./picture.js";

const [id, replay] = [2, 4].map((place) => decodeURIComponent(location.pathname.split("/")[place]));
const url = runApi(id, `/replays/${encodeURIComponent(replay)}`);
const PACE = 5; // steps per second at speed 1
const PART = 500;
const MOST_EVENTS = 200;
document.title = `${replay} · lockstep`;
byId("name").replaceChildren(h("a", { href: runPage(id) }, id), " / ", replay);

const frames = [];
let about = { steps: 0, events: [] };
let at = 0; // so many steps have been made
let playing = false;
let due = 0;
const returns = [0];

function draw() {
  const frame = frames[at - 1];
  const picture = at === 0 ? about.before : frame?.play?.after;
  showDrawing(byId("board"), picture, { taken: frame?.action });
  byId("legend").replaceChildren(...lines(picture?.facts));
  const facts = { environment: about.env, step: `${at} of ${about.steps}` };
  if (frame) {
    Object.assign(facts, { tick: frame.t, action: pointed(frame.play?.action ?? frame.action), reward: significant(frame.reward) });
  }
  facts.return = significant(returns[at]);
  for (const [name, value] of Object.entries(frame?.render_state ?? {})) {
    if (["number", "string", "boolean"].includes(typeof value)) facts[name.replaceAll("_", " ")] = typeof value === "number" ? significant(value) : String(value);
  }
  if (frame?.events.length) facts.events = frame.events.join(", ");
  byId("facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value != null).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value)))));
  byId("seek").value = at;
  byId("at").textContent = `${at} / ${about.steps}`;
  byId("play").textContent = playing ? "Pause" : at === about.steps ? "Play again" : "Play";
  const read = frames.length < about.steps ? `; ${frames.length} of ${about.steps} steps are read` : "";
  const end = about.terminated ? "terminated" : about.truncated ? "truncated" : "cut off";
  say((at === about.steps ? `${end} after ${about.steps} steps, return ${significant(about.return_total)}` : `${about.steps} steps, return ${significant(about.return_total)}`) + read);
}

/** Goes to a step, as far as it has been read. */
function go(step) {
  at = Math.max(0, Math.min(Math.round(step), frames.length));
  draw();
}

function play(on) {
  playing = on;
  if (on && at === about.steps) at = 0;
  due = performance.now();
  draw();
  if (on) requestAnimationFrame(tick);
}

function tick(now) {
  if (!playing) return;
  const step = 1000 / (PACE * Number(byId("speed").value));
  if (now >= due + step && at < frames.length) {
    const steps = Math.floor((now - due) / step);
    due += steps * step;
    go(at + steps);
  }
  at === about.steps ? play(false) : requestAnimationFrame(tick);
}

function speed(by) {
  const choice = byId("speed");
  choice.selectedIndex = Math.max(0, Math.min(choice.options.length - 1, choice.selectedIndex + by));
}

const pausing = (step) => {
  playing = false;
  go(step);
};

addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=range]), select, button, a");
  if (event.ctrlKey || event.altKey || event.metaKey || (typing && event.key === " ")) return;
  const keys = { " ": () => play(!playing), n: () => pausing(at + 1), b: () => pausing(at - 1), "+": () => speed(1), "-": () => speed(-1) };
  const does = keys[event.key] ?? (/^[0-9]$/.test(event.key) ? () => go((about.steps * Number(event.key)) / 10) : null);
  if (!does) return;
  event.preventDefault();
  does();
});
byId("play").addEventListener("click", () => play(!playing));
byId("step").addEventListener("click", () => pausing(at + 1));
byId("back").addEventListener("click", () => pausing(at - 1));
byId("seek").addEventListener("input", (event) => go(Number(event.target.value)));

function events() {
  const shown = about.events.slice(0, MOST_EVENTS);
  byId("events").replaceChildren(...(shown.length
    ? shown.map(([index, names]) => h("button", { type: "button", onclick: () => pausing(index + 1) }, `${index + 1}: ${names.join(", ")}`))
    : ["There are none."]), ...(about.events.length > MOST_EVENTS ? [`and ${about.events.length - MOST_EVENTS} more`] : []));
  byId("marks").replaceChildren(...shown.map(([index]) => h("option", { value: index + 1 })));
}

try {
  about = await ask(url);
  byId("seek").max = about.steps;
  ["play", "step", "back", "seek"].forEach((name) => (byId(name).disabled = false));
  events();
  draw();
  while (frames.length < about.steps) {
    const part = await ask(`${url}/frames?offset=${frames.length}&limit=${PART}`);
    if (!part.frames.length) break;
    for (const frame of part.frames) {
      frames.push(frame);
      returns.push(returns.at(-1) + frame.reward);
    }
    if (!playing) draw();
  }
} catch (error) {
  say(error.message, true);
}
