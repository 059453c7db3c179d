//! What the agent sees, f32\[260\]: the ship, the node, its edges, its asteroids as they are believed to be, and the market.

use crate::lang::{Float, Int, concatenate, constant, select, stack};

use super::State;
use super::market::usual;
use super::ship::{ALERT, CARGO, FUEL, HEAT, HULL, LAST_NODE, SUPPLIES, TOOL};
use super::site::{columns, shares};

pub const OBS: usize = 260;
/// Kinds of nodes.
const KINDS: usize = 3;
/// Scales.
const CREDITS: f64 = 1e7;
const EDGE_TIME: f64 = 8.0;
const EDGE_FUEL: f64 = 160.0;
const PRICE_CHANGE: f64 = 100.0;
const STOCK: f64 = 500.0;
/// The commodities of which the station's stock is seen.
const STOCKED: [i32; 4] = [0, 2, 3, 4];

/// One-hot of a kind of nodes, f32, with an axis at the end.
#[track_caller]
fn kinds(kind: Int) -> Float {
    kind.one_hot(KINDS).as_f32()
}

#[track_caller]
pub fn observe(state: &State, time_max: Float) -> Float {
    let State { ship, site, market, .. } = state;
    let share = |x: Float, most: f64| (x / most).clamp(0.0, 1.0);
    let count = |x: Int| x.as_f32() / f64::from(SUPPLIES);
    let credits = ship.credits.maximum(0.0).log1p() / CREDITS.ln_1p();
    let gauges = [
        share(ship.fuel, FUEL),
        share(ship.hull, HULL),
        share(ship.heat, HEAT),
        share(ship.tool, TOOL),
        share(ship.load(), CARGO),
        share(ship.alert, ALERT),
        (ship.time_remaining / time_max).clamp(0.0, 1.0),
        credits,
    ];
    let target = (ship.selection() & site.mineable()).any([0]);
    let supplies = [
        count(ship.kits),
        count(ship.stabilizers),
        count(ship.decoys),
        site.is_station().as_f32(),
        target.as_f32(),
    ];
    let place = [site.node.as_f32() / LAST_NODE, site.hops.as_f32() / LAST_NODE];
    let price = (market.price / usual()).clamp(0.0, 1.0);
    let change = ((market.price - market.before) / PRICE_CHANGE).clamp(-1.0, 1.0);
    let stock = share(market.stock.take(constant(STOCKED), 0), STOCK);
    let parts = [
        stack(gauges),
        ship.cargo / CARGO,
        stack(supplies),
        kinds(site.kind),
        stack(place),
        exits(state),
        Float::full([2], 0.0),
        asteroids(state),
        price,
        change,
        stock,
    ];
    concatenate(0, parts)
}

/// The edges, one after another.
#[track_caller]
fn exits(state: &State) -> Float {
    let exits = state.site.exits;
    let exists = exits.exists();
    let parts = [
        exists.as_f32(),
        kinds(exits.kind),
        exits.time.as_f32() / EDGE_TIME,
        exits.fuel / EDGE_FUEL,
        state.site.marks.threat,
    ];
    let all = columns(parts);
    select(exists.broadcast(1, all.shape()[1]), all, 0.0).flatten()
}

/// The asteroids, one after another.
#[track_caller]
fn asteroids(state: &State) -> Float {
    let exists = state.site.exists();
    let marks = state.site.marks;
    let parts = [
        exists.as_f32(),
        shares(marks.composition),
        marks.stability,
        marks.depletion,
        marks.confidence,
        state.ship.selection().as_f32(),
    ];
    let all = columns(parts);
    select(exists.broadcast(1, all.shape()[1]), all, 0.0).flatten()
}
