// All charts of a page: in the groups of their metrics, over one axis, filled when they are seen.
import { Chart } from "./chart.js";
import { h } from "./common.js";

/** Charts by the groups of their metrics, filled when they are seen. `fetch(names, view)` gives for each metric its series. */
export class Board {
  constructor(place, controls, fetch) {
    Object.assign(this, { place, fetch, charts: new Map(), seen: new Set(), stale: new Set(), range: null });
    const kept = new URLSearchParams(location.search);
    this.options = { axis: kept.get("x") ?? "timesteps", weight: Number(kept.get("smooth") ?? 0), log: kept.get("log") === "1" };
    this.observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const name = target.dataset.metric;
        isIntersecting ? this.seen.add(name) : this.seen.delete(name);
      }
      this.fill();
    }, { rootMargin: "200px" });
    controls.append(this.controls());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.charts.forEach((chart) => chart.draw()));
  }

  controls() {
    const option = (value, text) => h("option", { value, selected: this.options.axis === value }, text);
    const axis = h("select", { onchange: () => this.set({ axis: axis.value }, true) }, option("update", "updates"), option("timesteps", "timesteps"), option("time", "time"));
    const weight = h("input", { type: "range", min: "0", max: "0.99", step: "0.01", value: this.options.weight, oninput: () => this.set({ weight: Number(weight.value) }) });
    const log = h("input", { type: "checkbox", checked: this.options.log, onchange: () => this.set({ log: log.checked }) });
    this.find = h("input", { type: "search", placeholder: "metric", oninput: () => this.filter() });
    this.whole = h("button", { type: "button", disabled: true, onclick: () => this.zoom(null) }, "Whole range");
    return h("div", { class: "bar" }, h("label", {}, "over ", axis), h("label", {}, "smooth ", weight), h("label", {}, log, " logarithmic"), h("label", {}, "show ", this.find), this.whole);
  }

  set(change, again = false) {
    Object.assign(this.options, change);
    const asked = new URLSearchParams(location.search);
    asked.set("x", this.options.axis);
    this.options.weight ? asked.set("smooth", this.options.weight) : asked.delete("smooth");
    this.options.log ? asked.set("log", "1") : asked.delete("log");
    history.replaceState(null, "", `?${asked}`);
    if (again) {
      this.range = null;
      this.refresh();
    } else {
      this.charts.forEach((chart) => chart.series && chart.show(chart.series, this.options));
    }
  }

  zoom(from, to) {
    this.range = from == null || !(to > from) ? null : [from, to];
    this.refresh();
  }

  /** The metrics there are; charts that are there stay. */
  metrics(names) {
    const wanted = names.filter((name) => !["update", "timesteps"].includes(name)).sort((a, b) => rank(a) - rank(b));
    if (wanted.every((name) => this.charts.has(name)) && this.charts.size === wanted.length) return;
    const groups = Map.groupBy ? Map.groupBy(wanted, groupOf) : groupBy(wanted, groupOf);
    const order = (name) => ["train", "eval", "stats", "reward"].indexOf(name) >>> 0;
    const sorted = [...groups].sort(([a], [b]) => order(a) - order(b) || a.localeCompare(b));
    this.place.replaceChildren(...sorted.map(([group, members]) => {
      const charts = members.map((name) => {
        if (!this.charts.has(name)) {
          const chart = new Chart(name, (from, to) => this.zoom(from, to));
          this.charts.set(name, chart);
          this.stale.add(name);
          this.observer.observe(chart.element);
        }
        return this.charts.get(name).element;
      });
      return h("div", {}, h("h3", {}, group), h("div", { class: "group" }, charts));
    }));
    this.filter();
  }

  filter() {
    const text = this.find.value.toLowerCase();
    this.charts.forEach((chart, name) => (chart.element.hidden = !name.toLowerCase().includes(text)));
    for (const group of this.place.children) group.hidden = [...group.querySelectorAll(".chart")].every((chart) => chart.hidden);
  }

  /** All charts want new points; those that are seen get them now. */
  refresh() {
    this.whole.disabled = !this.range;
    this.charts.forEach((_, name) => this.stale.add(name));
    this.fill();
  }

  async fill() {
    if (this.filling) return;
    this.filling = true;
    try {
      // Batches: what is seen meanwhile comes with the next one.
      for (;;) {
        const names = [...this.stale].filter((name) => this.seen.has(name)).slice(0, 24);
        if (!names.length) return;
        names.forEach((name) => this.stale.delete(name));
        const [options, range] = [{ ...this.options }, this.range];
        const found = await this.fetch(names, { axis: options.axis, range });
        names.forEach((name) => this.charts.get(name).show(found[name] ?? [], { ...this.options, axis: options.axis, range }));
      }
    } finally {
      this.filling = false;
    }
  }
}

/** What people look at first. */
const USUAL = ["mean_episode_return", "mean_return", "mean_episode_length", "entropy", "pg_loss", "vf_loss", "approx_kl", "clip_frac"];
const rank = (name) => USUAL.indexOf(name.slice(name.indexOf("/") + 1)) >>> 0;

const groupOf = (name) => (name.includes("/") ? name.split("/")[0] : "others");

function groupBy(values, key) {
  const groups = new Map();
  for (const value of values) groups.set(key(value), [...(groups.get(key(value)) ?? []), value]);
  return groups;
}

/** What a view asks for. */
export function viewQuery(metrics, { axis, range }) {
  const asked = new URLSearchParams([["x", axis], ...metrics.map((name) => ["metric", name])]);
  if (range) {
    asked.set("from", range[0]);
    asked.set("to", range[1]);
  }
  return asked;
}
