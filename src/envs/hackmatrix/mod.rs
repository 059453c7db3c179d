//! HackMatrix, a turn-based game on a 6x6 board, as one traced program.
//!
//! The rules are told in prose in `jax_env_spec/hackmatrix/README.md`, to whose sections the comments refer, and played
//! one game at a time by [`host::rules`]. This is the same game for thousands of environments at once. Its shape comes
//! from that: with the batch on the last axis, a scalar here is a vector of environments, so everything is written as
//! operations on u64 sets ([`bits`]) without a loop over cells or enemies wherever possible, and what happens to
//! few environments at a time stands inside [`rare`](crate::lang::rare).
//!
//! In the order of a step: the [`board`] and the lists of [`entities`] make the [`state`]; the player's
//! [`actions`] and [`programs`]; the [`enemy_turn`], which may [`spawn`] transmissions; the next [`stage`]; the
//! [`reward`] and the [`observation`]. [`convert`] turns states into the host's games and back; [`player`] and [`table`]
//! play those on a device, behind the commands of [`service`].

mod actions;
mod board;
mod convert;
mod drawing;
mod enemy_turn;
mod entities;
pub mod host;
mod observation;
mod painter;
mod player;
mod programs;
mod reward;
mod service;
mod spawn;
mod stage;
mod state;
mod table;

use crate::lang::{Bool, Float, Int, Key, arange, boolean, float, int, int_u64, select};

use super::bits::{self, Dice, below, nth};
use super::health::Range;
use super::{Env, EnvSpec, Health, Metric, Observation, Step};
use board::{CORNERS, walking_distance};
use host::layout::{ACTIONS, EnvParams, FIRST_PROGRAM, OBS, REWARDS, Reward, STAGES, layout};
use state::Scene;

pub use convert::Converter;
pub use player::CompiledPlayer;
pub(super) use service::{GOLDEN, PROTOCOL};
pub use state::{History, State, World};
pub use table::CompiledTable;

/// Draws its states.
pub(super) fn painter() -> Box<dyn super::painter::Painter> {
    Box::new(painter::HackMatrixPainter::new())
}

/// The game.
#[derive(Clone, Copy, Debug, Default)]
pub struct HackMatrix {
    /// Whether an observation counts rows and columns of cells from the player's, around the edges: the cell above the player is always the
    /// same numbers. (The reference counts from the corner.)
    pub egocentric: bool,
}

/// What a curriculum changes (rules, section 11), traced.
#[derive(Clone, Copy)]
pub struct Params {
    // i32, added to what a new game begins with:
    pub starting_data_siphons: Int,
    pub starting_credits: Int,
    pub starting_energy: Int,
    // f32:
    /// Factor on the number of transmissions at the start of a stage.
    pub transmission_scale: Float,
    pub siphon_death_penalty: Float,
    pub distance_shaping_coef: Float,
    pub data_siphon_reward: Float,
    /// Whether a new game begins with 10 credits, 11 energy or a data siphon.
    pub starting_bonus: Bool,
}
crate::tree!(Params {
    starting_data_siphons,
    starting_credits,
    starting_energy,
    transmission_scale,
    siphon_death_penalty,
    distance_shaping_coef,
    data_siphon_reward,
    starting_bonus
});

impl Params {
    /// Constants.
    #[track_caller]
    pub fn of(params: &EnvParams, starting_bonus: bool) -> Params {
        Params {
            starting_data_siphons: int(params.starting_data_siphons),
            starting_credits: int(params.starting_credits),
            starting_energy: int(params.starting_energy),
            transmission_scale: float(params.transmission_scale as f64),
            siphon_death_penalty: float(params.siphon_death_penalty as f64),
            distance_shaping_coef: float(params.distance_shaping_coef as f64),
            data_siphon_reward: float(params.data_siphon_reward as f64),
            starting_bonus: boolean(starting_bonus),
        }
    }

    /// The coefficient of a reward, by the name of its parameter.
    fn coefficient(&self, name: &str) -> Float {
        match name {
            "siphon_death_penalty" => self.siphon_death_penalty,
            "distance_shaping_coef" => self.distance_shaping_coef,
            "data_siphon_reward" => self.data_siphon_reward,
            _ => panic!("layout.json: {name} is no coefficient of the parameters"),
        }
    }

    /// Transmissions at the start of a stage (i32): the stage times the scale, a half rounded to even.
    #[track_caller]
    fn stage_transmissions(&self, stage: Int) -> Int {
        (stage.as_f32() * self.transmission_scale).round().as_i32()
    }
}

/// One step in full; [`Step`] has the part that training needs.
pub struct Turn {
    pub state: State,
    /// The parts of the reward, in the order of the layout.
    pub rewards: [Float; REWARDS],
    pub done: Bool,
    pub invalid_action: Bool,
    pub stage_complete: Bool,
    pub victory: Bool,
}
crate::tree!(Turn { state, rewards, done, invalid_action, stage_complete, victory });

impl HackMatrix {
    /// One step in full. The state is never reset.
    #[track_caller]
    pub fn play(&self, params: &Params, key: Key, before: State, action: Int) -> Turn {
        let [action_key, turn_key, stage_key] = key.split();
        let scene = Scene::of(&before.world);
        let (state, deed) = actions::perform(before, &scene, action, action_key);
        let victory = deed.exit_reached & state.stage.eq(STAGES);
        let ends_turn = deed.ends_turn & !deed.exit_reached;
        let (state, enemies_acted) = enemy_turn::run(state, ends_turn, turn_key);
        let mut after = stage::complete(params, state, deed.exit_reached, stage_key);
        after.distance = walking_distance(after.world.board.blocks, after.world.player, after.exit);
        let transition =
            reward::Transition { before: &before, after: &after, action, deed, enemies_acted, victory };
        let rewards = reward::parts(params, &transition);
        Turn {
            rewards,
            done: !deed.succeeded | after.world.hp.eq(0) | victory,
            invalid_action: !deed.succeeded,
            stage_complete: deed.exit_reached,
            victory,
            state: after,
        }
    }
}

/// Nothing says when it is solved. In nearly every step the action is valid and costs the penalty.
pub const HEALTH: Health = Health {
    solved_return: None,
    ranges: &[(
        "reward/step_penalty",
        Range::new(
            -0.012,
            -0.008,
            "the step penalty is wrong",
            "it should be about -0.01 in each step: the rewards of the environment are wrong",
        ),
    )],
};

impl Env for HackMatrix {
    type State = State;
    type Params = Params;

    fn spec(&self) -> EnvSpec {
        let part = |part: &Reward| Metric::reward(&part.name, &part.pays(), &part.per);
        let mut metrics: Vec<Metric> = layout().rewards.iter().map(part).collect();
        metrics.push(Metric::record(
            "highest_stage",
            "stages",
            "the highest stage that any environment was in",
        ));
        EnvSpec {
            sparse_obs: true,
            flags: layout().flags(),
            metrics,
            action_groups: vec![
                ("move", 0..4),
                ("siphon", 4..FIRST_PROGRAM),
                ("program", FIRST_PROGRAM..ACTIONS),
            ],
            ..EnvSpec::new("hackmatrix", [OBS], ACTIONS)
        }
    }

    fn default_params(&self) -> Params {
        Params::of(&EnvParams::default(), true)
    }

    fn phases(&self) -> Vec<Params> {
        layout().curriculum.iter().map(|phase| Params::of(&phase.params, true)).collect()
    }

    /// Rules, section 6.1.
    fn reset(&self, params: &Params, key: Key) -> State {
        let [seed, stage_key] = key.split();
        let mut dice = Dice::new(seed.bits_u64([]));
        let player = nth(int_u64(CORNERS), below(dice.roll(), int_u64(4)));
        let mut world = World::empty(player);
        let bonus = below(dice.roll(), int_u64(3));
        let with_bonus = |amount: Int, number: u64, more: i32| {
            amount + select(params.starting_bonus & bonus.eq(number), more, 0)
        };
        world.credits = with_bonus(params.starting_credits, 0, 10);
        world.energy = with_bonus(params.starting_energy, 1, 11);
        world.data_siphons = with_bonus(params.starting_data_siphons, 2, 1);
        let site = stage::Site { player, enemy_cells: int_u64(0) };
        let count = params.stage_transmissions(int(1));
        (world.board, world.transmissions) = stage::generate(&site, world.transmissions, count, stage_key);
        let exit = world.board.exit;
        State {
            distance: walking_distance(world.board.blocks, player, exit),
            world,
            stage: int(1),
            scheduled_interval: int(12),
            next_scheduled_turn: int(12),
            pending_siphon: int(0),
            dropped: int(0),
            step_active: boolean(false),
            exit,
            history: History::empty(),
        }
    }

    /// Old snapshots stay in the ring, beyond the count.
    fn restart(&self, params: &Params, key: Key, ended: State) -> State {
        let mut state = self.reset(params, key);
        state.history.ring = ended.history.ring;
        state
    }

    fn step(&self, params: &Params, key: Key, state: State, action: Int) -> Step<State> {
        let turn = self.play(params, key, state, action);
        let reward = turn.rewards.into_iter().reduce(|sum, part| sum + part).expect("fifteen parts");
        let mut metrics = turn.rewards.to_vec();
        metrics.push(turn.state.stage.as_f32());
        Step { state: turn.state, reward, terminated: turn.done, truncated: None, metrics }
    }

    fn observe(&self, _params: &Params, state: &State) -> Observation {
        observation::observe(state, self.egocentric).into()
    }

    fn action_mask(&self, _params: &Params, state: &State) -> Option<Bool> {
        let legal = actions::legal(state, &Scene::of(&state.world));
        Some(((legal.fill(&[ACTIONS]) >> arange(ACTIONS).as_u64()) & 1).as_bool())
    }
}
