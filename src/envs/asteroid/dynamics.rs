//! What happens by itself while time passes: cooling, dangers of the node, pirates, the market.

use crate::lang::{Float, Int, select};

use super::State;
use super::pcg::between;
use super::ship::{CARGO, HEAT};
use super::travel::{Danger, Voyager, exposed};

/// Heat that a tick takes away, and what each unit above the limit does to the hull.
const COOLING: f64 = 2.5;
const OVERHEAT_DAMAGE: f64 = 1.25;

/// The state after `ticks` (i32).
#[track_caller]
pub fn pass(mut state: State, time_max: Float, ticks: Int) -> State {
    let time = ticks.as_f32();
    let ship = &mut state.ship;
    ship.time_remaining = ship.time_remaining - time;
    ship.heat = (ship.heat - time * COOLING).maximum(0.0);
    ship.escape = (ship.escape - ticks).maximum(0);
    ship.stabilized = (ship.stabilized - ticks).maximum(0);
    let excess = (ship.heat - HEAT).maximum(0.0);
    ship.hull = ship.hull - excess * OVERHEAT_DAMAGE;
    ship.heat = ship.heat - excess;
    state.tally.overheated = state.tally.overheated + select(excess.gt(0.0), ticks, 0);
    state = drift(state, time);
    let now = state.tally.ticks + ticks;
    (state.market, state.rng) = state.market.pass(now, time, state.rng);
    state.ship = state.ship.clamped(time_max);
    let tally = &mut state.tally;
    tally.load_sum = tally.load_sum + (state.ship.load() / CARGO).clamp(0.0, 1.0) * time;
    tally.load_count = tally.load_count + time;
    tally.ticks = now;
    state
}

/// Away from the station, the node's dangers.
#[track_caller]
fn drift(mut state: State, ticks: Float) -> State {
    let State { ship, tally, rng, site, .. } = state;
    let outside = !site.is_station();
    let hazard = Danger { ticks, intensity: select(outside, site.marks.hazard, 0.0) };
    let luck = between(rng.units(1).index(0, 0), 0.8, 1.2);
    let drawn = outside & site.marks.hazard.gt(0.0);
    let voyager = Voyager { ship: exposed(ship, hazard, luck), tally, rng: rng.skip_if(drawn, 1) };
    let pirates = Danger { ticks, intensity: site.pirates };
    Voyager { ship: state.ship, tally: state.tally, rng: state.rng } =
        voyager.meets_pirates(outside, &state.market, pirates);
    state
}
