//! Mining the selected asteroid, which may break it.

use crate::lang::{Bool, Float, Int, constant, select};

use super::State;
use super::pcg::{between, normal, unit};
use super::ship::{CARGO, HEAT, TOOL};
use super::site::chosen;

/// Conservative, standard, aggressive.
pub const MODES: usize = 3;
const YIELD: [f32; MODES] = [0.80, 1.15, 1.55];
const WEAR: [f32; MODES] = [0.8, 1.6, 2.8];
const SPREAD: [f32; MODES] = [0.05, 0.10, 0.16];
const RISK: [f32; MODES] = [-0.7, 0.0, 0.8];
/// Depletion by a unit of ore.
const DEPLETION: f64 = 0.01;

/// Mines if `mines`, in a mode (i32). Heat and alert are the table's.
#[track_caller]
pub fn mine(mut state: State, mines: Bool, mode: Int) -> State {
    let State { ship, site, rng, .. } = state;
    let target = ship.selection();
    let of_mode = |values: [f32; MODES]| constant(values).at(mode).get();
    let of_target = |values: Float| chosen(values, target);
    let draws = rng.draws(4);
    let units = unit(draws);

    let tool = (ship.tool / TOOL).clamp(0.0, 1.0);
    let heat = (ship.heat / HEAT).clamp(0.0, 2.0);
    let cool = select(heat.le(0.7), 1.0, (1.0f64 - (heat - 0.7) / 0.3).maximum(0.1));
    let left = (1.0f64 - of_target(site.marks.depletion)).maximum(0.0);
    let luck = (normal(units.slice(0, 0..2)) * of_mode(SPREAD)).exp();
    let rate = of_target(site.truth.richness) * left * (tool * 0.6 + 0.4) * cool * of_mode(YIELD) * luck;
    let amount = of_target(site.truth.composition) * rate;
    let total = amount.sum([0]);
    let free = CARGO - ship.load();
    let scale = select(total.gt(free), free / total.maximum(1e-8), 1.0);
    let amount = select(mines, amount * scale, 0.0);
    let ship = &mut state.ship;
    ship.cargo = ship.cargo + amount;
    ship.tool = ship.tool - select(mines, of_mode(WEAR), 0.0);
    state.tally.mined = state.tally.mined + mines.as_i32();

    let stable = (target & ship.stabilized.gt(0)).any([0]).as_f32();
    let logit = of_mode(RISK) - 3.1
        + (1.0 - of_target(site.truth.stability)) * 2.5
        + (heat - 0.7).maximum(0.0) * 2.2
        + (1.0 - tool) * 1.5
        - stable * 1.1;
    let breaks = mines & units.index(0, 2).lt(logit.sigmoid());
    let severity = between(units.index(0, 3), 0.5, 1.0);
    ship.hull = ship.hull - select(breaks, severity * 12.0, 0.0);
    let site = &mut state.site;
    let marks = &mut site.marks;
    let depleted = (marks.depletion + amount.sum([0]) * DEPLETION).clamp(0.0, 1.0);
    let mined = target & mines.fill(&target.shape());
    let broken = target & breaks.fill(&target.shape());
    marks.depletion = select(broken, depleted.full_like(1.0), select(mined, depleted, marks.depletion));
    marks.hazard = select(breaks, (marks.hazard + 0.1).minimum(1.0), marks.hazard);
    site.changed = site.changed | mines;
    state.rng = rng.skip_if(mines, 3).skip_if(breaks, 1);
    state
}
