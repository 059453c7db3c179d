//! What a step pays, part by part, and the numbers that every step reports.

use crate::lang::{Bool, Float, float, select};

use super::actions::{DEEP_SCAN, Deed, WIDE_SCAN};
use super::layout::layout;
use super::ship::{FUEL, HULL, TOOL};
use super::{Metric, State};
use crate::envs::Aggregate;
use crate::envs::layout::{Paid, pays};

/// Parts of the reward.
pub const PARTS: usize = 13;

/// Factors of the parts of the reward, f32 scalars: `layout.json` has their defaults and says per what they pay.
#[derive(Clone, Copy)]
pub struct Pays {
    pub trade: Float,
    pub extraction: Float,
    pub fuel: Float,
    pub time: Float,
    pub wear: Float,
    pub heat: Float,
    pub damage: Float,
    pub scan: Float,
    pub invalid: Float,
    pub pirates: Float,
    pub stranded: Float,
    pub destroyed: Float,
    pub settlement: Float,
}
crate::tree!(Pays {
    trade,
    extraction,
    fuel,
    time,
    wear,
    heat,
    damage,
    scan,
    invalid,
    pirates,
    stranded,
    destroyed,
    settlement
});

impl Pays {
    /// The reference's.
    #[track_caller]
    pub fn default() -> Pays {
        let of = |name: &str| float(pays(&layout().rewards, name));
        Pays {
            trade: of("trade"),
            extraction: of("extraction"),
            fuel: of("fuel"),
            time: of("time"),
            wear: of("wear"),
            heat: of("heat"),
            damage: of("damage"),
            scan: of("scan"),
            invalid: of("invalid"),
            pirates: of("pirates"),
            stranded: of("stranded"),
            destroyed: of("destroyed"),
            settlement: of("settlement"),
        }
    }
}

/// How a step ends.
#[derive(Clone, Copy)]
pub struct Ending {
    pub destroyed: Bool,
    pub stranded: Bool,
    /// Whether the episode is over or out of time.
    pub done: Bool,
}

impl Ending {
    #[track_caller]
    pub fn survives(&self) -> Bool {
        !(self.destroyed | self.stranded)
    }
}

/// The parts of the reward, in the order of the layout.
#[track_caller]
pub fn parts(pays: &Pays, before: &State, after: &State, deed: &Deed, ending: &Ending) -> [Float; PARTS] {
    let (then, now) = (&before.ship, &after.ship);
    let worth = |state: &State| state.market.value(state.ship.cargo);
    let gain = |x: Float| x.maximum(0.0);
    let if_so = |flag: Bool, x: Float| select(flag, x, 0.0);
    let scanned = deed.id.ge(WIDE_SCAN) & deed.id.le(DEEP_SCAN);
    [
        (now.credits - then.credits) / 1000.0 * pays.trade,
        gain(worth(after) - worth(before)) / 1000.0 * pays.extraction,
        gain(then.fuel - now.fuel) / 100.0 * pays.fuel,
        deed.ticks.as_f32() * pays.time,
        gain(then.tool - now.tool) / 10.0 * pays.wear,
        (gain(now.heat - 70.0) / 100.0).square() * pays.heat,
        gain(then.hull - now.hull) / 10.0 * pays.damage,
        if_so(scanned, pays.scan),
        if_so(deed.invalid, pays.invalid),
        gain(after.tally.lost - before.tally.lost) / 1000.0 * pays.pirates,
        if_so(ending.stranded, pays.stranded),
        if_so(ending.destroyed, pays.destroyed),
        if_so(ending.done & ending.survives(), now.credits / 1000.0 * pays.settlement),
    ]
}

/// How many of [`STATS`] are running values of the episode: those of the reference. The others are of a step.
const RUNNING: usize = 13;

/// Numbers beside the parts of the reward: name, unit, meaning.
pub const STATS: [(&str, &str, &str); 16] = [
    ("credits", "credits", "credits that the ship has"),
    ("net_profit", "credits", "credits less all that was spent, which counts spending twice"),
    ("profit_per_tick", "credits per tick", "net_profit by the ticks of the episode"),
    ("survival", "share", "1 unless the ship was destroyed or stranded in this step"),
    ("overheat_ticks", "ticks", "ticks of the episode in which the ship was too hot"),
    ("pirate_encounters", "encounters", "meetings with pirates in the episode"),
    ("value_lost_to_pirates", "credits", "what pirates took in the episode, at the prices of the moment"),
    ("fuel_used", "fuel", "what is missing in the tank"),
    ("hull_damage", "points", "what is missing of the hull"),
    ("tool_wear", "points", "what is missing of the tool"),
    ("scan_count", "scans", "scans of the episode"),
    ("mining_ticks", "ticks", "ticks of the episode in which ore was mined"),
    ("cargo_utilization_avg", "share", "mean share of the hold that was full in the episode"),
    ("ticks", "ticks", "how long the step took"),
    ("invalid_actions", "share", "share of actions that were not possible"),
    ("cash_out", "share", "share of steps in which the agent ended the episode itself"),
];

/// What every step reports.
pub fn metrics() -> Vec<Metric> {
    let stat = |(place, &(name, unit, is)): (usize, &(&str, &'static str, &str))| Metric {
        name: format!("stats/{name}"),
        aggregate: if place < RUNNING { Aggregate::Running } else { Aggregate::Mean },
        unit,
        description: is.to_owned(),
    };
    layout().rewards.iter().map(Paid::metric).chain(STATS.iter().enumerate().map(stat)).collect()
}

/// The numbers of [`STATS`].
#[track_caller]
pub fn stats(after: &State, deed: &Deed, ending: &Ending) -> [Float; STATS.len()] {
    let State { ship, tally, .. } = after;
    let profit = ship.credits - ship.spent;
    let missing = |x: Float, of: f64| (of - x).maximum(0.0);
    [
        ship.credits,
        profit,
        profit / tally.ticks.maximum(1).as_f32(),
        ending.survives().as_f32(),
        tally.overheated.as_f32(),
        tally.encounters.as_f32(),
        tally.lost,
        missing(ship.fuel, FUEL),
        missing(ship.hull, HULL),
        missing(ship.tool, TOOL),
        tally.scans.as_f32(),
        tally.mined.as_f32(),
        tally.mean_load(),
        deed.ticks.as_f32(),
        deed.invalid.as_f32(),
        deed.cash_out.as_f32(),
    ]
}
