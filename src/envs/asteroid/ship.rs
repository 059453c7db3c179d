//! The ship and what is counted of its journey.

use crate::lang::{Bool, Float, Int, arange, float, int, select};

use super::chart::NODES;
use super::site::{ASTEROIDS, COMMODITIES};

pub const FUEL: f64 = 1000.0;
pub const HULL: f64 = 100.0;
pub const HEAT: f64 = 100.0;
pub const TOOL: f64 = 100.0;
pub const ALERT: f64 = 100.0;
pub const CARGO: f64 = 200.0;
/// Repair kits, stabilizers and decoys, of each at most.
pub const SUPPLIES: i32 = 12;

/// f32 unless said otherwise.
#[derive(Clone, Copy)]
pub struct Ship {
    pub fuel: Float,
    pub hull: Float,
    pub heat: Float,
    pub tool: Float,
    pub alert: Float,
    pub time_remaining: Float,
    pub credits: Float,
    /// All that was ever spent.
    pub spent: Float,
    /// \[COMMODITIES\]
    pub cargo: Float,
    // i32:
    pub kits: Int,
    pub stabilizers: Int,
    pub decoys: Int,
    /// The number of an asteroid; -1 for none.
    pub selected: Int,
    /// Ticks for which it escapes more easily.
    pub escape: Int,
    /// Ticks for which the asteroid at each place is stable, whatever the node: \[ASTEROIDS\].
    pub stabilized: Int,
}
crate::tree!(Ship {
    fuel,
    hull,
    heat,
    tool,
    alert,
    time_remaining,
    credits,
    spent,
    cargo,
    kits,
    stabilizers,
    decoys,
    selected,
    escape,
    stabilized
});

impl Ship {
    /// At the start, with `time` ticks to go.
    #[track_caller]
    pub fn new(time: Float) -> Ship {
        Ship {
            fuel: float(FUEL),
            hull: float(HULL),
            heat: float(0.0),
            tool: float(TOOL),
            alert: float(0.0),
            time_remaining: time,
            credits: float(0.0),
            spent: float(0.0),
            cargo: Float::full([COMMODITIES], 0.0),
            kits: int(3),
            stabilizers: int(2),
            decoys: int(1),
            selected: int(-1),
            escape: int(0),
            stabilized: Int::full([ASTEROIDS], 0),
        }
    }

    #[track_caller]
    pub fn load(&self) -> Float {
        self.cargo.sum([0])
    }

    /// One-hot of the selected asteroid, bool\[ASTEROIDS\]; of none, nothing.
    #[track_caller]
    pub fn selection(&self) -> Bool {
        arange(ASTEROIDS).eq(self.selected)
    }

    /// Keeps still: quieter and cooler.
    #[track_caller]
    pub fn hold_if(self, holds: Bool) -> Ship {
        let less = |x: Float, by: f64| select(holds, (x - by).maximum(0.0), x);
        Ship { alert: less(self.alert, 3.0), heat: less(self.heat, 2.5), ..self }
    }

    /// With all numbers in their ranges.
    #[track_caller]
    pub fn clamped(self, time_max: Float) -> Ship {
        let cargo = self.cargo.clamp(0.0, CARGO);
        let load = cargo.sum([0]);
        let scale = select(load.gt(CARGO), CARGO / load.maximum(1.0), 1.0);
        Ship {
            fuel: self.fuel.clamp(0.0, FUEL),
            hull: self.hull.clamp(0.0, HULL),
            heat: self.heat.clamp(0.0, HEAT),
            tool: self.tool.clamp(0.0, TOOL),
            alert: self.alert.clamp(0.0, ALERT),
            time_remaining: self.time_remaining.clamp(0.0, time_max),
            cargo: cargo * scale,
            ..self
        }
    }
}

/// What is counted of an episode.
#[derive(Clone, Copy)]
pub struct Tally {
    // i32:
    pub ticks: Int,
    pub overheated: Int,
    pub encounters: Int,
    pub scans: Int,
    pub mined: Int,
    // f32:
    pub lost: Float,
    /// The sum over ticks of the share of the hold that is full, and their number.
    pub load_sum: Float,
    pub load_count: Float,
}
crate::tree!(Tally { ticks, overheated, encounters, scans, mined, lost, load_sum, load_count });

impl Tally {
    #[track_caller]
    pub fn new() -> Tally {
        let (none, zero) = (int(0), float(0.0));
        Tally {
            ticks: none,
            overheated: none,
            encounters: none,
            scans: none,
            mined: none,
            lost: zero,
            load_sum: zero,
            load_count: zero,
        }
    }

    /// The mean share of the hold that was full.
    #[track_caller]
    pub fn mean_load(&self) -> Float {
        (self.load_sum / self.load_count.maximum(1.0)).clamp(0.0, 1.0)
    }
}

/// The last node's number as a scale of node numbers and hops.
pub const LAST_NODE: f64 = NODES as f64 - 1.0;
