//! The 69 actions: which are possible, and what they do to the ship before time passes.
//!
//! What an action burns, heats and alarms stands in a table ([`layout`]); the rest are masked updates, so that every environment of a
//! batch runs the same instructions. Scans and journeys are rare and costly, and have rooms of their own.

use std::ops::Range;

use crate::lang::{Bool, Float, Int, arange, boolean, concatenate, constant, float, int, select, stack};

use super::layout::{Action, layout};
use super::mining::{self, MODES};
use super::ship::{FUEL, HULL, SUPPLIES, TOOL};
use super::site::COMMODITIES;
use super::survey;
use super::{State, travel};

pub const ACTIONS: usize = 69;

pub const TRAVEL: Range<usize> = 0..6;
pub const HOLD: usize = 6;
pub const BURN: usize = 7;
pub const WIDE_SCAN: usize = 8;
pub const FOCUSED_SCAN: usize = 9;
pub const DEEP_SCAN: usize = 10;
pub const LISTEN: usize = 11;
pub const SELECT: Range<usize> = 12..28;
pub const MINE: Range<usize> = 28..31;
pub const STABILIZE: usize = 31;
pub const REFINE: usize = 32;
pub const COOL: usize = 33;
pub const MAINTAIN: usize = 34;
pub const PATCH: usize = 35;
pub const JETTISON: Range<usize> = 36..42;
pub const SELL: Range<usize> = 43..61;
pub const BUY_FUEL: Range<usize> = 61..64;
pub const BUY_KIT: usize = 64;
pub const BUY_STABILIZER: usize = 65;
pub const BUY_DECOY: usize = 66;
pub const OVERHAUL: usize = 67;
pub const CASH_OUT: usize = 68;

/// What portions of a commodity can be sold.
const PORTIONS: [f32; 3] = [0.25, 0.5, 1.0];
/// Ticks that stabilizing and an emergency burn last.
const STABLE_TICKS: i32 = 6;
const ESCAPE_TICKS: i32 = 4;

/// Which actions are possible, bool\[ACTIONS\].
#[track_caller]
pub fn possible(state: &State) -> Bool {
    let State { ship, site, .. } = state;
    let docked = site.is_station();
    let target = has_target(state);
    let pays = |action: usize| docked & ship.credits.ge(layout().actions[action].price);
    let room = |count: Int| count.lt(SUPPLIES);
    let repairs = ship.kits.gt(0);
    let always = |count: usize| boolean(true).fill(&[count]);
    let each = |flag: Bool, count: usize| flag.fill(&[count]);
    let singles = |flags: &[Bool]| stack(flags);
    let parts = [
        site.exits.exists(),
        always(3), // hold, burn, wide scan
        each(target, 2),
        always(1), // listen
        site.mineable(),
        each(target, 3),
        singles(&[target & ship.stabilizers.gt(0)]),
        always(2), // refine, cool
        each(repairs, 2),
        always(COMMODITIES),
        each(docked, 1 + SELL.len()), // dock, sell
        singles(&[
            pays(61),
            pays(62),
            pays(63),
            pays(BUY_KIT) & room(ship.kits),
            pays(BUY_STABILIZER) & room(ship.stabilizers),
            pays(BUY_DECOY) & room(ship.decoys),
            pays(OVERHAUL),
        ]),
        always(1), // cash out
    ];
    concatenate(0, parts)
}

/// Whether an asteroid is selected that holds something still.
#[track_caller]
fn has_target(state: &State) -> Bool {
    (state.ship.selection() & state.site.mineable()).any([0])
}

/// What was done.
#[derive(Clone, Copy)]
pub struct Deed {
    /// The action (i32), [`HOLD`] for a number that is none.
    pub id: Int,
    /// i32
    pub ticks: Int,
    pub invalid: Bool,
    pub cash_out: Bool,
}

/// The action as flags.
#[derive(Clone, Copy)]
struct Order {
    id: Int,
    valid: Bool,
}

impl Order {
    /// Whether it is this action, and possible.
    #[track_caller]
    fn is(&self, action: usize) -> Bool {
        self.valid & self.id.eq(action)
    }

    #[track_caller]
    fn is_in(&self, range: Range<usize>) -> Bool {
        self.valid & self.id.ge(range.start) & self.id.lt(range.end)
    }

    /// What the table says of it.
    #[track_caller]
    fn float(&self, of: fn(&Action) -> f32) -> Float {
        constant(layout().actions.iter().map(of).collect::<Vec<f32>>()).at(self.id).get()
    }

    #[track_caller]
    fn int(&self, of: fn(&Action) -> i32) -> Int {
        constant(layout().actions.iter().map(of).collect::<Vec<i32>>()).at(self.id).get()
    }
}

/// Does an action (i32), whatever number it is. Time does not pass yet.
#[track_caller]
pub fn perform(mut state: State, action: Int) -> (State, Deed) {
    let outside = action.lt(0) | action.ge(ACTIONS);
    let id = select(outside, int(HOLD as i32), action);
    let hot = arange(ACTIONS).eq(id);
    let valid = (hot & possible(&state)).any([0]) & !outside;
    // A number that is no action holds, and once more because it is invalid.
    let order = Order { id, valid: valid | outside };
    let travels = order.is_in(TRAVEL);
    let exit = arange(TRAVEL.len()).eq(id);
    let time = select(exit, state.site.exits.time, 0).sum([0]);
    let ticks = select(travels, time, order.int(|action| action.ticks));

    // Mining reads heat and tool as they were.
    let mode = id - MINE.start;
    state = mining::mine(state, order.is_in(MINE), mode);
    state = consume(state, order);
    state = trade(state, order);
    state = handle(state, order);
    let looks = survey::Kind {
        wide: order.is(WIDE_SCAN),
        focused: order.is(FOCUSED_SCAN),
        deep: order.is(DEEP_SCAN),
        listens: order.is(LISTEN),
    };
    state = survey::look(state, looks);
    state = travel::go(state, travels, exit);
    state.ship = state.ship.hold_if(!valid);
    let deed = Deed { id, ticks: select(valid, ticks, 1), invalid: !valid, cash_out: order.is(CASH_OUT) };
    (state, deed)
}

/// Burns fuel, and changes alert and heat as the table says. Scans of a target that is none cost as much.
#[track_caller]
fn consume(mut state: State, order: Order) -> State {
    let costs = order.valid | order.id.eq(FOCUSED_SCAN) | order.id.eq(DEEP_SCAN);
    let if_it_costs = |x: Float| select(costs, x, 0.0);
    let ship = &mut state.ship;
    let buys = order.is_in(BUY_FUEL);
    let fuel = if_it_costs(order.float(|action| action.fuel));
    ship.fuel = select(buys, (ship.fuel + fuel).minimum(FUEL), ship.fuel - fuel);
    ship.alert = (ship.alert + if_it_costs(order.float(|action| action.alert))).maximum(0.0);
    ship.heat = (ship.heat + if_it_costs(order.float(|action| action.heat))).maximum(0.0);
    state
}

/// Sells and buys.
#[track_caller]
fn trade(mut state: State, order: Order) -> State {
    let ship = &mut state.ship;
    let sale = order.id - SELL.start;
    let portion = constant(PORTIONS).at(sale % PORTIONS.len()).get();
    let sold = arange(COMMODITIES).eq(sale / PORTIONS.len()) & order.is_in(SELL).fill(&[COMMODITIES]);
    let quantity = select(sold, ship.cargo * portion, 0.0);
    let (market, paid) = state.market.sell(quantity);
    state.market = market;
    let price = select(order.valid, order.float(|action| action.price), 0.0);
    ship.cargo = (ship.cargo - quantity).maximum(0.0);
    ship.credits = ship.credits + paid - price;
    ship.spent = ship.spent + price;
    ship.kits = ship.kits + order.is(BUY_KIT).as_i32();
    ship.stabilizers = ship.stabilizers + order.is(BUY_STABILIZER).as_i32();
    ship.decoys = ship.decoys + order.is(BUY_DECOY).as_i32();
    let overhaul = order.is(OVERHAUL);
    ship.hull = select(overhaul, float(HULL), ship.hull);
    ship.tool = select(overhaul, float(TOOL), ship.tool);
    state
}

/// What is done by hand: selecting, repairing, refining, throwing overboard.
#[track_caller]
fn handle(mut state: State, order: Order) -> State {
    let ship = &mut state.ship;
    let commodity = arange(COMMODITIES);
    let stabilizes = order.is(STABILIZE);
    let stable = ship.selection() & stabilizes.fill(&ship.stabilized.shape());
    ship.stabilized = select(stable, ship.stabilized.full_like(STABLE_TICKS), ship.stabilized);
    ship.stabilizers = ship.stabilizers - stabilizes.as_i32();
    ship.selected = select(order.is_in(SELECT), order.id - SELECT.start, ship.selected);
    ship.escape = select(order.is(BURN), ship.escape.maximum(ESCAPE_TICKS), ship.escape);

    let (maintains, patches) = (order.is(MAINTAIN), order.is(PATCH));
    ship.kits = ship.kits - (maintains | patches).as_i32();
    ship.tool = select(maintains, (ship.tool + 25.0).minimum(TOOL), ship.tool);
    ship.hull = select(patches, (ship.hull + 20.0).minimum(HULL), ship.hull);

    let cargo = ship.cargo;
    let ore = select(commodity.lt(2), cargo, 0.0).sum([0]);
    let refined = select(commodity.lt(2), cargo * (1.0 - 0.15), cargo)
        + select(commodity.eq(4), (ore * (0.65 * 0.15)).fill(&[COMMODITIES]), 0.0);
    let refines = order.is(REFINE).fill(&[COMMODITIES]);
    let thrown = commodity.eq(order.id - JETTISON.start);
    ship.cargo = select(thrown, 0.0, select(refines, refined, cargo));
    state
}

const _: () = assert!(MINE.end - MINE.start == MODES);
