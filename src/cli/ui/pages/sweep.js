// A sweep: the Pareto front, the settings of all trials side by side, and the trials as a table, the best first.
import { range, ticks } from "./chart.js";
import { ask, byId, h, runPage, say, significant, table } from "./common.js";

const name = decodeURIComponent(location.pathname.split("/")[2]);
document.title = `${name} · lockstep`;
byId("name").textContent = name;
const [LEFT, RIGHT, TOP, BOTTOM] = [56, 16, 12, 26];
let sweep = null;

/** A pen on a canvas in the sharpness of the screen. */
function penOf(canvas) {
  const [width, height, ratio] = [canvas.clientWidth, canvas.clientHeight, window.devicePixelRatio || 1];
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.font = "11px system-ui, sans-serif";
  const style = getComputedStyle(canvas);
  return { pen, width, height, colour: (name) => style.getPropertyValue(`--${name}`).trim() };
}

/** A range with some room around it. */
const roomy = ([low, high]) => [low - 0.06 * (high - low), high + 0.06 * (high - low)];

function drawFront(trials) {
  const canvas = byId("front");
  const { pen, width, height, colour } = penOf(canvas);
  const [xs, ys] = [roomy(range(trials.map(({ cost }) => cost))), roomy(range(trials.map(({ score }) => score)))];
  const px = (x) => LEFT + ((x - xs[0]) / (xs[1] - xs[0])) * (width - LEFT - RIGHT);
  const py = (y) => TOP + (1 - (y - ys[0]) / (ys[1] - ys[0])) * (height - TOP - BOTTOM);
  pen.strokeStyle = colour("line");
  pen.fillStyle = colour("quiet");
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const tick of ticks(...ys, 6)) {
    pen.strokeRect(LEFT, py(tick), width - LEFT - RIGHT, 0);
    pen.fillText(significant(tick, 3), LEFT - 6, py(tick));
  }
  pen.textAlign = "center";
  pen.textBaseline = "top";
  for (const tick of ticks(...xs, Math.max(2, width / 110))) if (tick >= 0) pen.fillText(`${significant(tick, 3)} s`, px(tick), height - BOTTOM + 7);
  const front = sweep.front.map((number) => trials.find(({ trial }) => trial === number)).filter(Boolean);
  pen.strokeStyle = colour("c1");
  pen.lineWidth = 1.6;
  pen.beginPath();
  front.forEach(({ cost, score }, i) => {
    if (i) pen.lineTo(px(cost), py(front[i - 1].score));
    pen.lineTo(px(cost), py(score));
  });
  pen.stroke();
  for (const { trial, cost, score } of trials) {
    pen.fillStyle = colour(sweep.front.includes(trial) ? "c1" : "c0");
    pen.beginPath();
    pen.arc(px(cost), py(score), 3.5, 0, 7);
    pen.fill();
  }
  canvas.setAttribute("aria-label", `${trials.length} trials; on the front are ${front.map(({ trial, score }) => `trial ${trial} with ${significant(score)}`).join(", ")}`);
}

/** The places of trials on an axis, from 0 to 1: by number, or by the order of what is no number. */
function axisOf(title, values) {
  const numbers = values.every((value) => typeof value === "number");
  if (!numbers) {
    const kinds = [...new Set(values.map(String))].sort();
    return { title, ends: [kinds[0], kinds.at(-1)], at: (value) => (kinds.length > 1 ? kinds.indexOf(String(value)) / (kinds.length - 1) : 0.5) };
  }
  const [low, high] = range(values);
  const log = low > 0 && high / low > 10;
  const scale = log ? Math.log : (value) => value;
  return { title, ends: [significant(low, 3), significant(high, 3)], at: (value) => (scale(value) - scale(low)) / (scale(high) - scale(low)) };
}

function drawParallel(trials) {
  const canvas = byId("parallel");
  const { pen, width, height, colour } = penOf(canvas);
  const names = [...new Set(trials.flatMap(({ values }) => Object.keys(values)))];
  const value = (trial, name) => (name === "score" ? trial.score : trial.values[name]);
  const titles = [...names, "score"];
  const axes = titles.map((title) => axisOf(title, trials.map((trial) => value(trial, title)).filter((value) => value != null)));
  const px = (i) => LEFT + (i / Math.max(1, axes.length - 1)) * (width - 2 * LEFT);
  const py = (share) => TOP + 18 + (1 - share) * (height - TOP - BOTTOM - 18);
  const good = (trial) => (sweep.goal === "minimize" ? 1 - axes.at(-1).at(trial.score) : axes.at(-1).at(trial.score));
  pen.strokeStyle = colour("c0");
  for (const trial of [...trials].sort((a, b) => good(a) - good(b))) {
    pen.globalAlpha = 0.2 + 0.7 * good(trial) ** 3;
    pen.lineWidth = trial.trial === sweep.best ? 3 : 1.3;
    pen.beginPath();
    axes.forEach((axis, i) => {
      const own = value(trial, axis.title);
      if (own != null) pen.lineTo(px(i), py(axis.at(own)));
    });
    pen.stroke();
  }
  pen.globalAlpha = 1;
  pen.lineWidth = 1;
  pen.strokeStyle = colour("quiet");
  pen.fillStyle = colour("text");
  pen.textAlign = "center";
  axes.forEach(({ title, ends }, i) => {
    pen.strokeRect(px(i), py(1), 0, py(0) - py(1));
    pen.fillText(title, px(i), TOP);
    pen.fillText(ends[1], px(i), TOP + 13);
    pen.fillText(ends[0], px(i), height - 8);
  });
  canvas.setAttribute("aria-label", `Settings ${names.join(", ")} and scores of ${trials.length} trials; the table below has the numbers`);
}

function show() {
  const scored = sweep.trials.filter(({ score }) => score != null);
  if (scored.length) {
    drawFront(scored);
    drawParallel(scored);
  }
  const sign = sweep.goal === "minimize" ? 1 : -1;
  const sorted = [...sweep.trials].sort((a, b) => (a.score == null) - (b.score == null) || sign * (a.score - b.score));
  const names = [...new Set(sweep.trials.flatMap(({ values }) => Object.keys(values)))];
  const plain = (value) => (typeof value === "number" ? significant(value) : value == null ? "-" : String(value));
  const run = (trial) => (trial.run ? h("a", { href: runPage(`${name}/${trial.run}`) }, trial.run) : "-");
  const state = (trial) => h("span", { class: `life ${trial.status}`, title: trial.error }, trial.status);
  byId("trials").replaceChildren(table(
    [">trial", "run", "state", ">score", ">seconds", ">steps", ...names.map((name) => `>${name}`)],
    sorted.map((trial) => [`${trial.trial}${sweep.front.includes(trial.trial) ? " ★" : ""}`, run(trial), state(trial), plain(trial.score), plain(trial.cost), plain(trial.steps), ...names.map((name) => plain(trial.values[name]))])));
  say(`${scored.length} of ${sweep.max_runs ?? "?"} trials have a score; ${sweep.metric}, to be ${sweep.goal === "minimize" ? "small" : "large"}; ★ is on the front`);
}

async function load() {
  sweep = await ask(`/api/v1/sweeps/${encodeURIComponent(name)}`);
  show();
}

try {
  await load();
  addEventListener("resize", show);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  setInterval(() => !document.hidden && load().catch(() => {}), 10_000);
} catch (error) {
  say(error.message, true);
}
