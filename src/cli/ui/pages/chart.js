// Curves on a canvas: several over each other, with bands, smoothing, a logarithmic scale, a cursor and zooming.
//
// Mouse: move to read values, drag to zoom, double-click for the whole. Keyboard: arrows move the cursor, + and - zoom around it, 0 shows
// the whole. All charts of a page share one axis, so a zoom is told to the page, which asks the server for finer points.
import { count, duration, h, significant } from "./common.js";

const TOP = 8, RIGHT = 8, BOTTOM = 20;
const LEAST_LEFT = 52; // room for the numbers of the axis, more where they are longer
const LETTERS = "11px system-ui, sans-serif";

/** About `most` round numbers within a range. */
export function ticks(low, high, most) {
  const least = (high - low) / most;
  if (!(least > 0) || !Number.isFinite(least)) return [];
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((size) => size >= least) ?? 10 * power;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step && found.length < 2 * most + 2; i++) found.push(i * step);
  return found;
}

/** About `most` places on a logarithmic scale (of base 10) that stand for round numbers. */
export function logTicks(low, high, most) {
  if (high - low < 1.5) return ticks(10 ** low, 10 ** high, most).filter((value) => value > 0).map(Math.log10);
  return ticks(low, high, most).filter(Number.isInteger);
}

/** The exponential moving average, whose beginning is not drawn towards 0; `weight` from 0 to below 1. */
export function smooth(y, weight) {
  if (!weight) return y;
  let [mean, sum] = [0, 0];
  return y.map((value) => {
    mean = weight * mean + (1 - weight) * value;
    sum = weight * sum + (1 - weight);
    return mean / sum;
  });
}

/** The place of the value nearest to `x` among ascending ones; -1 of none. */
export function nearest(xs, x) {
  let [low, high] = [0, xs.length - 1];
  if (high < 0) return -1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle;
    else high = middle;
  }
  return x - xs[low] <= xs[high] - x ? low : high;
}

/** Lowest and highest of numbers, with some room; of none 0 to 1. */
export function range(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return [0, 1];
  if (high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high))) {
    const room = Math.abs(low) * 0.1 || 0.5;
    return [low - room, high + room];
  }
  return [low, high];
}

const shortX = (value, axis) => (axis === "time" ? duration(value) : count(Math.round(value)).replace(/(\.\d*?)0+(?=[kMGT])/, (_, digits) => (digits === "." ? "" : digits)));

/** Digits by which round numbers that are so far apart differ. */
function digits(values) {
  const step = Math.abs(values[1] - values[0]);
  const most = Math.max(...values.map(Math.abs));
  return values.length > 1 && step > 0 ? Math.min(12, Math.max(3, Math.ceil(Math.log10(most / step)) + 1)) : 3;
}

/** A round number as short as it can be written. */
function short(value, precision) {
  const rounded = Number(value.toPrecision(precision));
  const size = Math.abs(rounded);
  return rounded === 0 || (size >= 1e-3 && size < 1e6) ? rounded.toString() : rounded.toExponential();
}

export class Chart {
  /** `zoom(from, to)` is called for a new range, `zoom(null)` for the whole. */
  constructor(name, zoom) {
    this.name = name;
    this.zoom = zoom;
    this.series = null; // nothing is known yet
    this.options = { axis: "timesteps", log: false, weight: 0, rules: [] };
    this.value = h("span", {});
    this.canvas = h("canvas", { tabindex: "0", role: "img", "aria-label": name });
    this.element = h("figure", { class: "chart", "data-metric": name }, h("figcaption", {}, h("b", { title: name }, name.slice(name.indexOf("/") + 1)), this.value), this.canvas);
    this.cursor = null;
    this.listen();
  }

  /** Series of { x, y, low?, high?, name, colour } in the colours of the style sheet; `rules` are values that have a line across. */
  show(series, options) {
    this.series = series;
    this.options = { ...this.options, ...options };
    this.draw();
  }

  listen() {
    const { canvas } = this;
    const at = (event) => event.clientX - canvas.getBoundingClientRect().left;
    let start = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      start = at(event);
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      this.cursor = this.toX(at(event));
      this.selection = start == null ? null : [start, at(event)];
      this.draw();
    });
    canvas.addEventListener("pointerup", (event) => {
      const end = at(event);
      if (start != null && Math.abs(end - start) > 6) {
        this.zoom(...[start, end].sort((a, b) => a - b).map((px) => this.toX(px)));
      }
      start = this.selection = null;
      this.draw();
    });
    const leave = () => {
      start = this.selection = this.cursor = null;
      this.draw();
    };
    canvas.addEventListener("pointerleave", () => start == null && leave());
    canvas.addEventListener("pointercancel", leave);
    canvas.addEventListener("blur", leave);
    canvas.addEventListener("dblclick", () => this.zoom(null));
    canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || !this.box) return;
    const [low, high] = this.box.x;
    const middle = this.cursor ?? (low + high) / 2;
    const step = (high - low) / 40;
    const around = (share) => this.zoom(middle - (middle - low) * share, middle + (high - middle) * share);
    const keys = {
      ArrowLeft: () => (this.cursor = Math.max(low, middle - step)),
      ArrowRight: () => (this.cursor = Math.min(high, middle + step)),
      "+": () => around(0.5),
      "-": () => around(2),
      0: () => this.zoom(null),
      Escape: () => (this.cursor = null),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
    this.draw();
  }

  toX(px) {
    const { x, left, width } = this.box ?? { x: [0, 1], left: 0, width: 1 };
    return x[0] + ((px - left) / width) * (x[1] - x[0]);
  }

  /** What is drawn of each series: its line, and what it was before it was smoothed. */
  lines() {
    const { log, weight } = this.options;
    const scale = (values) => (log ? values.map((value) => (value > 0 ? Math.log10(value) : NaN)) : values);
    return (this.series ?? []).map((series) => ({
      ...series,
      raw: scale(series.y),
      line: scale(smooth(series.y, weight)),
      low: series.low && scale(series.low),
      high: series.high && scale(series.high),
    }));
  }

  draw() {
    const { canvas, options } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [width * ratio, height * ratio];
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const lines = this.lines();
    const [from, to] = options.range ?? [null, null];
    const all = (part) => lines.flatMap((line) => [...(line[part] ?? [])]);
    const xRange = from == null ? range(all("x")) : [from, to];
    const visible = lines.flatMap((line) => {
      const inside = (value, i) => line.x[i] >= xRange[0] && line.x[i] <= xRange[1];
      return [line.line, options.weight ? [] : line.raw, line.low ?? [], line.high ?? []].flatMap((part) => part.filter(inside));
    });
    // Bounds are always within sight; what lies beyond them widens the axis.
    const [lowest, highest] = range([...visible, ...(options.bounds ?? [])]);
    const room = 0.04 * (highest - lowest);
    const yRange = [lowest - room, highest + room];
    const marks = this.marks(yRange);
    pen.font = LETTERS;
    const left = Math.max(LEAST_LEFT, 12 + Math.max(...marks.map(([, text]) => pen.measureText(text).width)));
    this.box = { x: xRange, y: yRange, left, width: width - left - RIGHT, height: height - TOP - BOTTOM };
    const { box } = this;
    const px = (x) => left + ((x - xRange[0]) / (xRange[1] - xRange[0])) * box.width;
    const py = (y) => TOP + (1 - (y - yRange[0]) / (yRange[1] - yRange[0])) * box.height;
    this.axes(pen, { px, py, xRange, marks, width, height }, colour);

    pen.save();
    pen.beginPath();
    pen.rect(left, TOP, box.width, box.height);
    pen.clip();
    this.rule(pen, py, colour);
    for (const line of lines) {
      const ink = colour(line.colour);
      if (line.low) this.band(pen, line, px, py, ink);
      if (options.weight) this.path(pen, line.x, line.raw, px, py, ink, 0.25, 1);
      this.path(pen, line.x, line.line, px, py, ink, 1, 1.6);
    }
    pen.restore();
    if (this.selection) {
      const [a, b] = this.selection;
      pen.fillStyle = colour("accent");
      pen.globalAlpha = 0.15;
      pen.fillRect(Math.min(a, b), TOP, Math.abs(b - a), box.height);
      pen.globalAlpha = 1;
    }
    this.read(pen, lines, px, py, colour);
  }

  /** Where the vertical axis has numbers, and what is written there. */
  marks(yRange) {
    const { log } = this.options;
    const heights = (log ? logTicks : ticks)(...yRange, 5);
    const values = heights.map((tick) => (log ? 10 ** tick : tick));
    const precision = digits(values);
    return heights.map((tick, i) => [tick, short(values[i], precision)]);
  }

  axes(pen, { px, py, xRange, marks, width, height }, colour) {
    const { left } = this.box;
    pen.font = LETTERS;
    pen.fillStyle = colour("quiet");
    pen.strokeStyle = colour("line");
    pen.lineWidth = 1;
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    for (const [tick, text] of marks) {
      pen.beginPath();
      pen.moveTo(left, py(tick));
      pen.lineTo(width - RIGHT, py(tick));
      pen.stroke();
      pen.fillText(text, left - 6, py(tick));
    }
    pen.textBaseline = "top";
    pen.textAlign = "center";
    for (const tick of ticks(...xRange, Math.max(2, Math.floor(width / 90)))) {
      pen.fillText(shortX(tick, this.options.axis), Math.min(px(tick), width - 18), height - BOTTOM + 5);
    }
  }

  rule(pen, py, colour) {
    pen.strokeStyle = colour("quiet");
    pen.setLineDash([6, 5]);
    for (const value of this.options.rules ?? []) {
      pen.beginPath();
      pen.moveTo(this.box.left, py(value));
      pen.lineTo(this.box.left + this.box.width, py(value));
      pen.stroke();
    }
    pen.setLineDash([]);
  }

  path(pen, xs, ys, px, py, ink, opacity, size) {
    pen.strokeStyle = ink;
    pen.fillStyle = ink;
    pen.globalAlpha = opacity;
    pen.lineWidth = size;
    pen.lineJoin = "round";
    pen.beginPath();
    let open = false;
    for (let i = 0; i < xs.length; i++) {
      if (!Number.isFinite(ys[i])) {
        open = false;
        continue;
      }
      pen[open ? "lineTo" : "moveTo"](px(xs[i]), py(ys[i]));
      open = true;
    }
    pen.stroke();
    if (xs.length < 40) xs.forEach((x, i) => Number.isFinite(ys[i]) && pen.fillRect(px(x) - 1.5, py(ys[i]) - 1.5, 3, 3));
    pen.globalAlpha = 1;
  }

  band(pen, line, px, py, ink) {
    const places = line.x.map((_, i) => i).filter((i) => Number.isFinite(line.low[i]) && Number.isFinite(line.high[i]));
    if (!places.length) return;
    pen.fillStyle = ink;
    pen.globalAlpha = 0.18;
    pen.beginPath();
    places.forEach((i) => pen.lineTo(px(line.x[i]), py(line.high[i])));
    places.reverse().forEach((i) => pen.lineTo(px(line.x[i]), py(line.low[i])));
    pen.fill();
    pen.globalAlpha = 1;
  }

  /** The values at the cursor, or the newest. */
  read(pen, lines, px, py, colour) {
    const { axis, log } = this.options;
    const back = (value) => (log ? 10 ** value : value);
    const told = [];
    let where = null;
    for (const line of lines) {
      const i = this.cursor == null ? line.x.length - 1 : nearest(line.x, this.cursor);
      if (i < 0) continue;
      where ??= line.x[i];
      const value = line.line[i];
      told.push((lines.length > 1 ? `${line.name} ` : "") + (Number.isFinite(value) ? significant(back(value)) : "-"));
      if (this.cursor == null || !Number.isFinite(value)) continue;
      pen.fillStyle = colour(line.colour);
      pen.beginPath();
      pen.arc(px(line.x[i]), py(value), 3, 0, 7);
      pen.fill();
    }
    if (this.cursor != null && where != null) {
      pen.strokeStyle = colour("quiet");
      pen.globalAlpha = 0.5;
      pen.beginPath();
      pen.moveTo(px(where), TOP);
      pen.lineTo(px(where), TOP + this.box.height);
      pen.stroke();
      pen.globalAlpha = 1;
    }
    const most = 4;
    const more = told.length > most ? ` and ${told.length - most} more` : "";
    const text = told.length ? told.slice(0, most).join(", ") + more : this.series ? "no values" : "…";
    this.value.textContent = this.cursor != null && where != null ? `${text} at ${shortX(where, axis)}` : text;
    this.canvas.setAttribute("aria-label", `${this.name}: ${this.value.textContent}`);
  }
}
