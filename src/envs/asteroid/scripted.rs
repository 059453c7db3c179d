//! Three players that follow rules: who mines whatever is near, who looks before it mines, and who waits for prices.
//!
//! They see what every agent sees, no more. A player is a list of rules, of which the first that applies decides.

use std::rc::Rc;

use crate::envs::Player;
use crate::lang::{Bool, Float, Int, int, select};

use super::actions::{BUY_FUEL, BUY_KIT, COOL, DEEP_SCAN, HOLD, MINE, SELECT, SELL, STABILIZE, WIDE_SCAN};
use super::site::{ASTEROIDS, COMMODITIES};

/// Places of the observation.
const GAUGES: [usize; 7] = [0, 1, 2, 3, 4, 6, 7];
const CARGO: usize = 8;
const KITS: usize = 14;
const STABILIZERS: usize = 15;
const DOCKED: usize = 17;
const EDGES: usize = 24;
const EDGE: usize = 7;
const SLOTS: usize = 6;
const ROCKS: usize = 68;
const ROCK: usize = 11;
const PRICES: usize = 244;
const CHANGES: usize = 250;
/// The commodity that the market timer trades in: pge.
const TARGET: usize = 3;

/// The scripted players.
pub fn players() -> Vec<Player> {
    let player =
        |name, rules: fn(&View) -> Int| Player { name, act: Rc::new(move |obs, _| rules(&View::of(obs))) };
    vec![
        player("greedy_miner", greedy_miner),
        player("cautious_scanner", cautious_scanner),
        player("market_timer", market_timer),
    ]
}

/// The observation by its parts.
struct View {
    fuel: Float,
    hull: Float,
    heat: Float,
    tool: Float,
    load: Float,
    time: Float,
    credits: Float,
    cargo: Float,
    kits: Float,
    stabilizers: Float,
    docked: Bool,
    /// Exits that lead somewhere, to a station, and to a cluster: bool\[SLOTS\].
    exits: Bool,
    to_station: Bool,
    to_cluster: Bool,
    rocks: Rocks,
    price: Float,
    change: Float,
}

/// Asteroids as they are seen, \[ASTEROIDS\] each.
struct Rocks {
    exist: Bool,
    /// \[ASTEROIDS, COMMODITIES\]
    composition: Float,
    stability: Float,
    depletion: Float,
    confidence: Float,
    selected: Bool,
}

impl View {
    fn of(obs: Float) -> View {
        let one = |place: usize| obs.index(0, place);
        let many = |place: usize, count: usize| obs.slice(0, place..place + count);
        let [fuel, hull, heat, tool, load, time, credits] = GAUGES.map(one);
        let edges = many(EDGES, SLOTS * EDGE).reshape([SLOTS, EDGE]);
        let edge = |column: usize| edges.index(1, column).gt(0.5);
        let rocks = many(ROCKS, ASTEROIDS * ROCK).reshape([ASTEROIDS, ROCK]);
        let rock = |column: usize| rocks.index(1, column);
        View {
            fuel,
            hull,
            heat,
            tool,
            load,
            time,
            credits: (credits * 1e7f64.ln_1p()).expm1(),
            cargo: many(CARGO, COMMODITIES),
            kits: one(KITS),
            stabilizers: one(STABILIZERS),
            docked: one(DOCKED).gt(0.5),
            exits: edge(0),
            to_station: edge(0) & edge(1),
            to_cluster: edge(0) & edge(2),
            rocks: Rocks {
                exist: rock(0).gt(0.5),
                composition: rocks.slice(1, 1..1 + COMMODITIES),
                stability: rock(1 + COMMODITIES),
                depletion: rock(2 + COMMODITIES),
                confidence: rock(3 + COMMODITIES),
                selected: rock(4 + COMMODITIES).gt(0.5),
            },
            price: many(PRICES, COMMODITIES),
            change: many(CHANGES, COMMODITIES),
        }
    }

    /// Fuel of a size, if it is low and can be paid.
    fn refuels(&self, below: f64, credits: f64) -> Bool {
        self.fuel.lt(below) & self.credits.ge(credits)
    }

    fn first_exit(&self) -> Int {
        first(self.exits, int(HOLD as i32))
    }

    /// To the station if it is near, else somewhere.
    fn home(&self) -> Int {
        first(self.to_station, self.first_exit())
    }

    /// Away from the station, to a cluster if there is one.
    fn afield(&self) -> Int {
        first(self.to_cluster, first(self.exits & !self.to_station, self.first_exit()))
    }

    /// The best asteroid by its worth.
    fn best(&self) -> Rock {
        let prices = self.price.broadcast(0, ASTEROIDS);
        self.highest((self.rocks.composition * prices).sum([1]))
    }

    /// The best asteroid by its share of one commodity.
    fn best_of(&self, commodity: usize) -> Rock {
        let share = self.rocks.composition.index(1, commodity);
        self.highest(share * (self.rocks.confidence * 0.5 + 0.5))
    }

    fn highest(&self, worth: Float) -> Rock {
        let Rocks { exist, stability, depletion, confidence, selected, .. } = self.rocks;
        let score = select(exist, worth * stability * (1.0 - depletion), -1.0);
        let index = score.argmax(0);
        let hot = crate::lang::arange(ASTEROIDS).eq(index);
        let of = |values: Float| select(hot, values, 0.0).sum([0]);
        Rock {
            missing: !exist.any([0]),
            index,
            selected: (hot & selected).any([0]),
            stability: of(stability),
            confidence: of(confidence),
        }
    }
}

/// An asteroid that was chosen.
struct Rock {
    missing: Bool,
    index: Int,
    selected: Bool,
    stability: Float,
    confidence: Float,
}

impl Rock {
    /// Rules that go before all work on it.
    fn reached(&self, view: &View) -> [(Bool, Int); 2] {
        [(self.missing, view.afield()), (!self.selected, self.index + SELECT.start)]
    }
}

/// The first place that is set, as a number; `otherwise` if none is.
fn first(set: Bool, otherwise: Int) -> Int {
    select(set.any([0]), set.as_i32().argmax(0), otherwise)
}

fn act(action: usize) -> Int {
    int(action as i32)
}

/// What the first rule says that applies.
fn decide(rules: Vec<(Bool, Int)>, otherwise: Int) -> Int {
    rules.into_iter().rev().fold(otherwise, |rest, (applies, action)| select(applies, action, rest))
}

/// Sells a portion (0 to 2) of the first commodity of which there is enough.
fn sale(of: Bool, portion: usize) -> (Bool, Int) {
    (of.any([0]), of.as_i32().argmax(0) * 3 + (SELL.start + portion))
}

fn greedy_miner(view: &View) -> Int {
    let docked = decide(
        vec![sale(view.cargo.gt(0.01), 2), (view.refuels(0.40, 210.0), act(BUY_FUEL.start + 2))],
        view.afield(),
    );
    let retreats = view.load.gt(0.85) | view.heat.gt(0.80) | view.hull.lt(0.40) | view.fuel.lt(0.15);
    let best = view.best();
    let rules = [vec![(retreats, view.home())], best.reached(view).to_vec()].concat();
    let hard = view.tool.gt(0.60) & view.heat.lt(0.60);
    let afield = decide(rules, select(hard, act(MINE.start + 2), act(MINE.start + 1)));
    select(view.docked, docked, afield)
}

fn cautious_scanner(view: &View) -> Int {
    let docked = decide(
        vec![
            sale(view.cargo.gt(0.01), 1),
            (view.kits.lt(0.30) & view.credits.ge(150.0), act(BUY_KIT)),
            (view.refuels(0.50, 120.0), act(BUY_FUEL.start + 1)),
        ],
        view.afield(),
    );
    let retreats = view.load.gt(0.70) | view.heat.gt(0.75) | view.hull.lt(0.55) | view.fuel.lt(0.20);
    let known = select(view.rocks.exist, view.rocks.confidence, 0.0).sum([0]);
    let count = view.rocks.exist.as_f32().sum([0]).maximum(1.0);
    let best = view.best();
    let rules = [
        vec![(retreats, view.home()), ((known / count).lt(0.35), act(WIDE_SCAN))],
        best.reached(view).to_vec(),
        vec![
            (best.confidence.lt(0.60), act(DEEP_SCAN)),
            (best.stability.lt(0.40) & view.stabilizers.gt(0.10), act(STABILIZE)),
            (view.heat.gt(0.70), act(COOL)),
        ],
    ];
    select(view.docked, docked, decide(rules.concat(), act(MINE.start)))
}

fn market_timer(view: &View) -> Int {
    let [price, change, held] = [view.price, view.change, view.cargo].map(|of| of.index(0, TARGET));
    let forced = view.load.gt(0.70) | view.time.lt(0.15);
    let good = (change.gt(0.01) & price.gt(0.50)) | forced;
    let others = view.cargo.gt(0.05) & crate::lang::arange(COMMODITIES).ne(TARGET);
    let (any, sells) = sale(others, 0);
    let docked = decide(
        vec![
            (held.gt(0.01) & good, act(SELL.start + 3 * TARGET)),
            (forced & any, sells),
            (view.refuels(0.50, 120.0), act(BUY_FUEL.start + 1)),
        ],
        view.afield(),
    );
    let cools = |applies: Bool, above: f64| (applies & view.heat.gt(above), act(COOL));
    let laden = view.load.gt(0.12);
    let falling = change.lt(-0.02) & view.load.gt(0.25);
    let full = view.load.gt(0.85) | view.heat.gt(0.80);
    let station = view.to_station.any([0]);
    let best = view.best_of(TARGET);
    let rules = [
        vec![
            cools(laden, 0.65),
            (laden & station, view.home()),
            cools(falling, 0.60),
            (falling, view.home()),
            cools(full, 0.70),
            (full, first(view.to_station, act(HOLD))),
        ],
        best.reached(view).to_vec(),
    ];
    let mines = select(view.heat.lt(0.60), act(MINE.start + 1), act(MINE.start));
    select(view.docked, docked, decide(rules.concat(), mines))
}
