//! Asteroid prospector: a ship that mines asteroids and sells the ore, with pirates about.
//!
//! The rules are told in `jax_env_spec/asteroid/README.md`. With the same seed it draws what the reference draws, bit for bit, and its
//! numbers are those of the reference's f32 core within rounding. What makes thousands of ships fast is in what is not done: the stream of draws can be
//! skipped ([`pcg`]), so asteroids are made only where a ship arrives ([`chart`], [`site`]), and scans and journeys run
//! for the few ships that need them.
//!
//! In the order of a step: [`actions`] with [`mining`], [`survey`] and [`travel`]; the [`dynamics`] with the [`market`]; the
//! [`reward`] and the [`observation`].

mod actions;
mod chart;
mod drawing;
mod dynamics;
mod front;
pub mod golden;
mod layout;
mod market;
mod mining;
mod observation;
mod painter;
mod pcg;
mod reward;
mod scripted;
mod ship;
mod site;
mod survey;
mod telemetry;
mod travel;

use crate::lang::{Bool, Float, Int, Key, boolean, float, int};

use super::description::{Action, Description, Feature, Group};
use super::health::Range;
use super::layout::Paid;
use super::{Clock, Env, EnvSpec, Golden, Health, Metric, Observation, Player, Step};
use actions::{ACTIONS, Deed};
use chart::Chart;
pub(super) use front::FRONT;
use layout::layout;
use market::Market;
use pcg::Pcg;
use reward::{Ending, PARTS, Pays};
use ship::{Ship, Tally};
use site::{Site, Store};
pub(super) use telemetry::TELEMETRY;

/// The game.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asteroid {
    /// Whether there is a mask of the actions that are not possible. The reference has none.
    pub mask_invalid: bool,
}

#[derive(Clone, Copy)]
pub struct State {
    pub ship: Ship,
    pub tally: Tally,
    pub market: Market,
    pub site: Site,
    pub store: Store,
    pub chart: Chart,
    /// All that is left to chance comes from here.
    pub rng: Pcg,
}
crate::tree!(State { ship, tally, market, site, store, chart, rng });

#[derive(Clone, Copy)]
pub struct Params {
    /// Ticks of an episode, f32.
    pub time_max: Float,
    /// Whether the end of time is an end like any other, as the reference's trainer has it; else the episode is cut off there and its
    /// value would have gone on.
    pub time_is_terminal: Bool,
    pub pays: Pays,
}
crate::tree!(Params { time_max, time_is_terminal, pays });

/// One step in full; [`Step`] has the part that training needs.
pub struct Turn {
    pub state: State,
    /// The parts of the reward, in the order of the layout.
    pub rewards: [Float; PARTS],
    pub stats: Vec<Float>,
    /// i32: the action, 6 for a number that is none; and how long it took.
    pub action: Int,
    pub ticks: Int,
    pub invalid: Bool,
    pub terminated: Bool,
    /// Out of time, but not terminated.
    pub truncated: Bool,
}
crate::tree!(Turn { state, rewards, stats, action, ticks, invalid, terminated, truncated });

/// Draws its states.
pub(super) fn painter() -> Box<dyn super::painter::Painter> {
    Box::new(painter::AsteroidPainter)
}

/// Traces of the reference.
pub(super) const GOLDEN: Golden =
    Golden { help: "jax_env_spec/asteroid/README.md describes those of asteroid.", open: golden::open };

/// No return is known from which on it is solved.
pub(super) const HEALTH: Health = Health {
    solved_return: None,
    ranges: &[(
        "stats/cash_out",
        Range::new(
            0.0,
            0.2,
            "the agent ends its episodes at once",
            "to leave costs nothing and to stay does: look at profit, survival and length beside the return",
        ),
    )],
};

/// The observation, the actions and the reward in names.
pub(super) fn description() -> Description {
    let feature = |(name, is): &(String, String)| Feature { name: name.clone(), is: is.clone() };
    let group = |group: &layout::Group| Group {
        name: group.name.clone(),
        count: group.count,
        features: group.features.iter().map(feature).collect(),
    };
    let action = |action: &layout::Action| Action { name: action.name.clone(), does: action.does.clone() };
    Description {
        observation: layout().observation.iter().map(group).collect(),
        actions: layout().actions.iter().map(action).collect(),
        rewards: layout().rewards.iter().map(Paid::described).collect(),
        params: Vec::new(),
    }
}

impl Asteroid {
    /// The first state of the world of a seed (u64).
    #[track_caller]
    pub fn begin(&self, params: &Params, seed: Int) -> State {
        let (chart, rng) = Chart::draw(Pcg::seeded(seed));
        let (market, rng) = Market::draw(rng);
        let site = Site::new(&chart, int(0));
        let ship = Ship::new(params.time_max);
        State { ship, tally: Tally::new(), market, site, store: Store::new(), chart, rng }
    }

    /// One step in full. The state is never reset.
    #[track_caller]
    pub fn play(&self, params: &Params, before: State, action: Int) -> Turn {
        let (acted, deed) = actions::perform(before, action);
        let state = dynamics::pass(acted, params.time_max, deed.ticks);
        let Deed { id, ticks, invalid, cash_out } = deed;
        let destroyed = state.ship.hull.le(0.0);
        let stranded = state.ship.fuel.le(0.0) & !state.site.is_station();
        let terminated = cash_out | destroyed | stranded;
        let truncated = state.ship.time_remaining.le(0.0) & !terminated;
        let ending = Ending { destroyed, stranded, done: terminated | truncated };
        Turn {
            rewards: reward::parts(&params.pays, &before, &state, &deed, &ending),
            stats: reward::stats(&state, &deed, &ending).to_vec(),
            state,
            action: id,
            ticks,
            invalid,
            terminated,
            truncated,
        }
    }
}

impl Env for Asteroid {
    type State = State;
    type Params = Params;

    fn spec(&self) -> EnvSpec {
        EnvSpec {
            metrics: reward::metrics(),
            action_groups: vec![
                ("travel", actions::TRAVEL),
                ("scan", actions::WIDE_SCAN..actions::LISTEN + 1),
                ("mine", actions::MINE),
                ("sell", actions::SELL),
                ("buy", actions::BUY_FUEL.start..actions::CASH_OUT),
            ],
            clock: Some(Clock { metric: "stats/ticks", most: 8 }),
            ..EnvSpec::new("asteroid", [observation::OBS], ACTIONS)
        }
    }

    fn default_params(&self) -> Params {
        Params {
            time_max: float(f64::from(layout().time_max)),
            time_is_terminal: boolean(false),
            pays: Pays::default(),
        }
    }

    fn reset(&self, params: &Params, key: Key) -> State {
        self.begin(params, key.bits_u64([]))
    }

    fn world(&self, params: &Params, number: Int) -> Option<State> {
        Some(self.begin(params, number))
    }

    /// What was kept of other nodes stays in memory and counts no more.
    fn restart(&self, params: &Params, key: Key, ended: State) -> State {
        State { store: ended.store.emptied(), ..self.reset(params, key) }
    }

    fn step(&self, params: &Params, _key: Key, state: State, action: Int) -> Step<State> {
        let turn = self.play(params, state, action);
        let reward = turn.rewards.into_iter().reduce(|sum, part| sum + part).expect("there are parts");
        let out_of_time = turn.truncated & params.time_is_terminal;
        Step {
            state: turn.state,
            reward,
            terminated: turn.terminated | out_of_time,
            truncated: Some(turn.truncated & !params.time_is_terminal),
            metrics: turn.rewards.into_iter().chain(turn.stats).collect(),
        }
    }

    fn observe(&self, params: &Params, state: &State) -> Observation {
        observation::observe(state, params.time_max).into()
    }

    fn players(&self) -> Vec<Player> {
        scripted::players()
    }

    fn action_mask(&self, _params: &Params, state: &State) -> Option<Bool> {
        self.mask_invalid.then(|| actions::possible(state))
    }
}
