// The sweeps there are.
import { ask, byId, h, say, table } from "./common.js";

try {
  const { sweeps } = await ask("/api/v1/sweeps");
  const link = ({ name }) => h("a", { href: `/sweeps/${encodeURIComponent(name)}` }, name);
  const row = (sweep) => [link(sweep), sweep.error ?? sweep.metric ?? "-", sweep.num_trials ?? "-", sweep.max_runs ?? "-", sweep.best ?? "-"];
  say(sweeps.length ? `${sweeps.length} sweeps` : "There are no sweeps here: lockstep sweep makes some.");
  if (sweeps.length) byId("list").append(table(["sweep", "metric", ">trials", ">of", ">best trial"], sweeps.map(row)));
} catch (error) {
  say(error.message, true);
}
