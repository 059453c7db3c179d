//! Journeys along an edge, and pirates, who come on the way and wherever the ship is not docked.

use crate::lang::{Bool, Float, Int, int, rare, select};

use super::State;
use super::market::Market;
use super::pcg::{Pcg, between};
use super::ship::{ALERT, CARGO, Ship, Tally};
use super::site::Site;

/// What one tick of a threat of 1 does. (Rules, section 1.)
pub const HULL_RATE: f64 = 0.7;
pub const HEAT_RATE: f64 = 0.5;
pub const ALERT_RATE: f64 = 0.8;

/// Whom pirates meet.
#[derive(Clone, Copy)]
pub struct Voyager {
    pub ship: Ship,
    pub tally: Tally,
    pub rng: Pcg,
}
crate::tree!(Voyager { ship, tally, rng });

/// A danger that lasts so many ticks (f32).
#[derive(Clone, Copy)]
pub struct Danger {
    pub ticks: Float,
    pub intensity: Float,
}

/// Leaves by the exit, a one-hot bool\[SLOTS\], if `goes`.
#[track_caller]
pub fn go(mut state: State, goes: Bool, exit: Bool) -> State {
    let State { ship, tally, rng, site: left, market, chart, .. } = state;
    let of = |values: Float| select(exit, values, 0.0).sum([0]);
    let whole = |values: Int| select(exit, values, 0).sum([0]);
    let exits = left.exits;
    let (to, fuel) = (whole(exits.to), of(exits.fuel));
    let danger = Danger { ticks: whole(exits.time).as_f32(), intensity: of(exits.threat) };
    let begun = (left, Voyager { ship, tally, rng });
    let (site, voyager) = rare(goes, begun, |(_, mut voyager): (Site, Voyager)| {
        let site = Site::new(&chart, to);
        let ship = &mut voyager.ship;
        let mass = ship.load() / CARGO * 0.5 + 1.0;
        ship.fuel = ship.fuel - fuel * mass;
        ship.selected = int(-1);
        let luck = between(voyager.rng.units(1).index(0, 0), 0.85, 1.15);
        voyager.ship = exposed(voyager.ship, danger, luck);
        voyager.rng = voyager.rng.skip(1);
        (site, voyager.meets_pirates(!site.is_station(), &market, danger))
    });
    (state.store, state.site) = state.store.exchange(goes, &left, site);
    Voyager { ship: state.ship, tally: state.tally, rng: state.rng } = voyager;
    state
}

/// The ship after a danger that had `luck` with the hull.
#[track_caller]
pub fn exposed(ship: Ship, danger: Danger, luck: Float) -> Ship {
    let dose = danger.ticks * danger.intensity;
    Ship {
        hull: ship.hull - dose * HULL_RATE * luck,
        heat: ship.heat + dose * HEAT_RATE,
        alert: ship.alert + dose * ALERT_RATE,
        ..ship
    }
}

impl Voyager {
    /// Whether pirates come, and what they take; nothing unless `threatened`.
    #[track_caller]
    pub fn meets_pirates(self, threatened: Bool, market: &Market, danger: Danger) -> Voyager {
        let Voyager { ship, tally, rng } = self;
        let [comes, takes, third, fourth] = rng.units(4).unstack();
        let value = market.value(ship.cargo);
        let escapes = ship.escape.gt(0).as_f32();
        let logit = danger.intensity * 3.0 - 4.0
            + (ship.alert / ALERT).clamp(0.0, 1.0) * 2.2
            + (value / 1000.0).log1p() * 0.8
            - escapes * 2.8;
        let none_comes = ((-logit).sigmoid().ln() * danger.ticks.maximum(1.0)).exp();
        let met = threatened & comes.lt(1.0 - none_comes);
        let decoys = met & ship.decoys.gt(0);
        let fooled = decoys & third.lt(0.6);
        let share = between(takes, 0.08, 0.20);
        let share = select(fooled, share * 0.3, share);
        let cargo = select(met, ship.cargo * (1.0 - share), ship.cargo);
        let lost = select(met, (value - market.value(cargo)).maximum(0.0), 0.0);
        let damage = between(select(decoys, fourth, third), 1.0, 4.0);
        let if_met = |x: Float| select(met, x, 0.0);
        Voyager {
            ship: Ship {
                cargo,
                decoys: ship.decoys - fooled.as_i32(),
                hull: ship.hull - if_met(damage),
                alert: ship.alert + if_met(damage.full_like(8.0)),
                ..ship
            },
            tally: Tally { encounters: tally.encounters + met.as_i32(), lost: tally.lost + lost, ..tally },
            rng: rng.skip_if(threatened, 1).skip_if(met, 2).skip_if(decoys, 1),
        }
    }
}
