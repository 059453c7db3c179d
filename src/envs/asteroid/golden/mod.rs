//! Traces of the reference, replayed by the compiled game from their seeds: every step, every new world, and the generator itself.
//!
//! `jax_env_spec/asteroid/README.md` describes the file. Draws are compared bit for bit; numbers within the rounding of f32, in which the
//! reference's own core agrees with its f64 Python.

mod game;
mod records;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use crate::array::{DType, HostArray};
use crate::envs::entry::{Open, Replay};
use crate::envs::golden::{self, Differences, Tally};
use crate::lang::{Backend, HostFunction, Int};

use super::pcg::{Pcg, exponential, normal};
use super::reward::STATS;
use super::site::ASTEROIDS;
use game::{Game, Named};
use records::{Again, Begun, Document, Generator, Move, Trace, hex, numbers};

/// How far numbers may be off: so much, and so much of the number itself.
#[derive(Clone, Copy)]
struct Tolerance(f64, f64);

const OBSERVED: Tolerance = Tolerance(3e-6, 1e-5);
const PAID: Tolerance = Tolerance(2e-5, 1e-5);
const COUNTED: Tolerance = Tolerance(1e-4, 1e-4);

/// Where the records' names of a state are leaves of ours.
const STATE: [(&str, &str); 26] = [
    ("current_node", "site.node"),
    ("selected", "ship.selected"),
    ("fuel", "ship.fuel"),
    ("hull", "ship.hull"),
    ("heat", "ship.heat"),
    ("tool", "ship.tool"),
    ("alert", "ship.alert"),
    ("time_remaining", "ship.time_remaining"),
    ("credits", "ship.credits"),
    ("cargo", "ship.cargo"),
    ("repair_kits", "ship.kits"),
    ("stabilizers", "ship.stabilizers"),
    ("decoys", "ship.decoys"),
    ("escape_buff", "ship.escape"),
    ("stabilize_buff", "ship.stabilized"),
    ("ticks_elapsed", "tally.ticks"),
    ("total_spend", "ship.spent"),
    ("overheat_ticks", "tally.overheated"),
    ("pirate_encounters", "tally.encounters"),
    ("value_lost_to_pirates", "tally.lost"),
    ("scan_count", "tally.scans"),
    ("mining_ticks", "tally.mined"),
    ("cargo_util_sum", "tally.load_sum"),
    ("cargo_util_count", "tally.load_count"),
    ("price", "market.price"),
    ("prev_price", "market.before"),
];
const MARKET: [(&str, &str); 5] = [
    ("station_inventory", "market.stock"),
    ("recent_sales", "market.sold"),
    ("price_phase", "market.phase"),
    ("price_period", "market.period"),
    ("price_amp", "market.swing"),
];
const MARKS: [(&str, &str); 6] = [
    ("node_hazard", "marks.hazard"),
    ("edge_threat_est", "marks.threat"),
    ("comp_est", "marks.composition"),
    ("stability_est", "marks.stability"),
    ("scan_conf", "marks.confidence"),
    ("depletion", "marks.depletion"),
];
const WORLD: [(&str, &str); 10] = [
    ("node_type", "kind"),
    ("node_pirate", "pirates"),
    ("neighbors", "exits.to"),
    ("edge_travel_time", "exits.time"),
    ("edge_fuel_cost", "exits.fuel"),
    ("edge_threat_true", "exits.threat"),
    ("true_comp", "truth.composition"),
    ("richness", "truth.richness"),
    ("stability_true", "truth.stability"),
    ("noise_profile", "truth.noise"),
];

/// Reads a file of traces.
///
/// # Errors
/// One line for a malformed file.
pub fn open(file: &Path, open: Open) -> Result<Replay> {
    let text = golden::read_text(file)?;
    let document: Document =
        serde_json::from_str(&text).map_err(|error| anyhow!("{}: {error}", file.display()))?;
    ensure!(!document.traces.is_empty(), "there are no traces in {}", file.display());
    for (name, trace) in &document.traces {
        trace.check().with_context(|| format!("{}: trace {name}", file.display()))?;
    }
    let backend = open()?;
    Ok(Box::new(move |_, out| verify(&document, &backend, out)))
}

fn verify(document: &Document, backend: &Backend, out: &mut dyn Write) -> Result<usize> {
    let mut tally = Tally::new(out);
    if let Some(generator) = &document.rng_unit {
        tally.add("rng_unit", &generator.differences(backend)?)?;
    }
    let game = Game::new(backend)?;
    for (name, trace) in &document.traces {
        trace.replay(name, &game, &mut tally)?;
    }
    tally.finish()
}

/// Compares lists of numbers; one line for the first that is off.
fn compare(found: &mut Differences, what: &str, got: &[f64], known: &[f64], Tolerance(by, share): Tolerance) {
    if got.len() != known.len() {
        found.0.push(format!("{what}: expected {} numbers, got {}", known.len(), got.len()));
        return;
    }
    let off = |(got, known): (&f64, &f64)| {
        let limit = by + share * got.abs().max(known.abs());
        let difference = (got - known).abs();
        difference.is_nan() || difference > limit
    };
    if let Some(place) = got.iter().zip(known).position(off) {
        found.0.push(format!("{what}[{place}]: expected {}, got {}", known[place], got[place]));
    }
}

/// Compares what records call so with leaves below a path.
fn compare_all(
    found: &mut Differences,
    names: &[(&str, &str)],
    known: &BTreeMap<String, Value>,
    leaves: &Named,
    path: &str,
) {
    for (name, leaf) in names {
        if let Some(known) = known.get(*name) {
            let known = numbers(known);
            let got = leaves.numbers(&format!("{path}{leaf}"));
            // Rows of nodes that do not exist have no meaning.
            let got = if path.is_empty() { &got[..known.len().min(got.len())] } else { &got[..] };
            compare(found, name, got, &known, PAID);
        }
    }
}

/// How many draws lead from one state of the generator to another.
fn draws_between(before: u64, after: u64) -> Option<usize> {
    const MOST: usize = 20_000;
    let next = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(109));
    std::iter::successors(Some(before), next).take(MOST).position(|state| state == after)
}

impl Trace {
    fn replay(&self, name: &str, game: &Game, tally: &mut Tally) -> Result<()> {
        let mut now = game.begin(self.seed, self.time_max)?;
        let mut found = Differences::default();
        self.compare_begun(&mut found, game, &now)?;
        tally.add(&format!("trace {name}, the first state"), &found.0)?;
        for (number, step) in self.steps.iter().enumerate() {
            let before = now.word("state.rng.state");
            now = game.step(&now, step.action, self.time_max)?;
            let differences = step.differences(before, &now);
            tally.add(&format!("trace {name}, step {number}, action {}", step.action), &differences)?;
            if let Some(again) = &step.auto_reset {
                now = game.begin(again.seed, self.time_max)?;
                let differences = again.differences(&now);
                tally.add(&format!("trace {name}, the new world after step {number}"), &differences)?;
            }
        }
        let mut found = Differences::default();
        compare_all(&mut found, &MARKS, &self.final_world_mutable, &game.world(&now)?, "");
        tally.add(&format!("trace {name}, the last world"), &found.0)
    }

    fn compare_begun(&self, found: &mut Differences, game: &Game, now: &Named) -> Result<()> {
        let Begun { u32_draws, obs, world, state } = &self.reset;
        compare_begin(found, now, self.seed, *u32_draws, obs);
        compare_state(found, state, now);
        compare_all(found, &MARKET, world, now, "state.");
        let nodes = game.world(now)?;
        let count = world.get("node_count").map(numbers).unwrap_or_default();
        compare(found, "node_count", &now.numbers("state.chart.count"), &count, PAID);
        compare_all(found, &WORLD, world, &nodes, "");
        compare_all(found, &MARKS, world, &nodes, "");
        let valid = world.get("ast_valid").map(numbers).unwrap_or_default();
        let counts: Vec<f64> = valid.chunks(ASTEROIDS).map(|row| row.iter().sum()).collect();
        compare(found, "ast_valid", &nodes.numbers("count")[..counts.len()], &counts, PAID);
        Ok(())
    }
}

/// The first observation of a world, and the draws that made it.
fn compare_begin(found: &mut Differences, now: &Named, seed: u64, draws: usize, obs: &[f64]) {
    let seeded = seed.wrapping_add(109).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(109);
    found.compare("u32_draws", draws_between(seeded, now.word("state.rng.state")), Some(draws));
    compare(found, "obs", &now.numbers("obs"), obs, OBSERVED);
}

fn compare_state(found: &mut Differences, known: &BTreeMap<String, Value>, now: &Named) {
    compare_all(found, &STATE, known, now, "state.");
    compare_all(found, &MARKET, known, now, "state.");
    let known = known.get("rng_state").and_then(Value::as_str).and_then(|text| hex(text).ok());
    found.compare("rng_state", Some(now.word("state.rng.state")), known);
}

impl Again {
    fn differences(&self, now: &Named) -> Vec<String> {
        let mut found = Differences::default();
        compare_begin(&mut found, now, self.seed, self.u32_draws, &self.obs);
        compare(&mut found, "node_count", &now.numbers("state.chart.count"), &[self.node_count as f64], PAID);
        found.compare("rng_state", Some(now.word("state.rng.state")), hex(&self.rng_state).ok());
        found.0
    }
}

impl Move {
    fn differences(&self, before: u64, now: &Named) -> Vec<String> {
        let mut found = Differences::default();
        found.compare("rng_before", Some(before), hex(&self.rng_before).ok());
        let after = now.word("state.rng.state");
        found.compare("u32_draws", draws_between(before, after), Some(self.u32_draws));
        let told = now.numbers("told");
        for (i, name) in ["action", "dt", "invalid_action"].into_iter().enumerate() {
            let known = self.info.get(name).map(numbers).unwrap_or_default();
            found.compare(name, vec![told[i]], known);
        }
        found.compare("terminated", told[3] == 1.0, self.terminated);
        found.compare("truncated", told[4] == 1.0, self.truncated);
        compare(&mut found, "reward", &now.numbers("reward"), &[self.reward], PAID);
        compare(&mut found, "obs", &now.numbers("obs"), &self.obs, OBSERVED);
        let stats = now.numbers("stats");
        for ((name, ..), got) in STATS.iter().zip(stats) {
            if let Some(known) = self.info.get(*name) {
                compare(&mut found, name, &[got], &numbers(known), COUNTED);
            }
        }
        compare_state(&mut found, &self.state, now);
        compare_all(&mut found, &MARKS, &self.node, now, "state.site.");
        let docked = now.numbers("state.site.kind") == [0.0];
        let known = self.info.get("node_context").and_then(Value::as_str) == Some("station");
        found.compare("node_context", docked, known);
        found.0
    }
}

impl Generator {
    fn differences(&self, backend: &Backend) -> Result<Vec<String>> {
        let seed = Int::placeholder(DType::U64, [1]);
        let program = HostFunction::new(backend, "draw", &seed, |seed: Int| {
            let first = Pcg::seeded(seed.index(0, 0));
            let (betas, after) = (first.skip(8), first.skip(18));
            let waits = exponential(betas.units(10)).reshape([2, 5]);
            let parts = exponential(after.units(6));
            let normals = |rng: Pcg, count: usize| normal(rng.units(2 * count).reshape([count, 2]));
            (
                (first.state, first.draws(16), first.skip(16).state),
                (
                    normals(first, 4),
                    waits.slice(1, 0..3).sum([1]) / waits.sum([1]),
                    parts / parts.sum([0]),
                    (normals(first.skip(24), 2) * 0.65 - 0.2).exp(),
                ),
            )
        })?;
        let told = program.call(&[HostArray::new(&[1], vec![self.seed])])?;
        let told: Vec<HostArray> = told.into_named().into_iter().map(|(_, value)| value).collect();
        let mut found = Differences::default();
        let word = |i: usize| Some(told[i].as_slice::<u64>()[0]);
        found.compare("state_after_seed", word(0), hex(&self.state_after_seed).ok());
        found.compare("first_u32", told[1].as_slice::<u32>().to_vec(), &self.first_u32);
        found.compare("state_after_16", word(2), hex(&self.state_after_16).ok());
        let known = [&self.normal_0_1_x4, &self.beta_3_2_x2, &self.dirichlet6_x1, &self.lognormal];
        for (i, known) in known.into_iter().enumerate() {
            let name = ["normal", "beta", "dirichlet", "lognormal"][i];
            compare(&mut found, name, &told[3 + i].to_f64(), known, OBSERVED);
        }
        Ok(found.0)
    }
}
