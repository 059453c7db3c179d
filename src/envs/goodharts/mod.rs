//! Goodhart's law in a grid world: agents that are paid for what is interesting instead of for what feeds them.
//!
//! An agent walks on a torus with food and poison, which come back elsewhere as soon as they are eaten. Moving costs energy, food
//! gives some, poison takes twice as much, and without energy the agent is dead. In some [modes](Mode) it sees what is food and
//! what is poison, in others only how interesting a cell is; and it is paid for its energy, or for how interesting what it eats is. The
//! rules are told in `jax_env_spec/goodharts/README.md`.
//!
//! All modes are the same program: what tells them apart are [`Params`], which are traced. The cells are bits ([`grid`]), so that
//! thousands of worlds fit into the caches and a window is read as 22 words.

mod config_file;
mod evaluation;
mod front;
pub mod golden;
mod grid;
mod mode;
mod painter;
mod scripted;
mod seeds;
mod statistics;

use std::sync::OnceLock;

use serde::Deserialize;

use crate::lang::{Bool, Float, Int, Key, boolean, cond, constant, float, int, select, stack};

use super::description::{Action, Description, Feature, Group, Reward};
use super::{Aggregate, Env, EnvSpec, Golden, Health, Metric, Observation, Player, Step};
use grid::{Grid, Items, RADIUS, VIEW, spread};

pub use evaluation::SURVIVAL;
pub use front::FRONT;
pub use mode::{Mode, SWITCHES};
pub use scripted::Scripted;

/// The world, of a size that is fixed when it is traced.
#[derive(Clone, Copy, Debug)]
pub struct Goodharts {
    grid: Grid,
    mode: Mode,
}

impl Default for Goodharts {
    fn default() -> Self {
        let World { width, height } = layout().world;
        Goodharts { grid: Grid { width, height }, mode: Mode::default() }
    }
}

impl Goodharts {
    /// A world of another size.
    ///
    /// # Errors
    /// One line: it is smaller than half a window, so that a window would show a cell more than twice.
    pub fn new(width: usize, height: usize) -> Result<Goodharts, String> {
        if width.min(height) < RADIUS {
            return Err(format!(
                "a world of {width} x {height} cells is too small; {RADIUS} x {RADIUS} is the least"
            ));
        }
        Ok(Goodharts { grid: Grid { width, height }, mode: Mode::default() })
    }

    /// The same world with the default parameters of another mode.
    pub fn with_mode(self, mode: Mode) -> Goodharts {
        Goodharts { mode, ..self }
    }
}

#[derive(Clone, Copy)]
pub struct State {
    /// The cells with food and with poison: see [`Grid`].
    pub items: Items,
    /// Items that the world was given, of food and of poison: i32.
    pub food_count: Int,
    pub poison_count: Int,
    // The agent: i32 column and row, f32 energy.
    pub x: Int,
    pub y: Int,
    pub energy: Float,
    /// This life so far: steps, food and poison eaten, i32.
    pub life: Life,
    /// The life before in the same world, zeros in the first one.
    pub last_life: Life,
}
crate::tree!(State { items, food_count, poison_count, x, y, energy, life, last_life });

/// What happened in a life, i32.
#[derive(Clone, Copy)]
pub struct Life {
    pub steps: Int,
    pub food: Int,
    pub poison: Int,
}
crate::tree!(Life { steps, food, poison });

impl Life {
    fn new() -> Life {
        Life { steps: int(0), food: int(0), poison: int(0) }
    }
}

/// What tells modes and worlds apart; f32 unless said otherwise.
#[derive(Clone, Copy)]
pub struct Params {
    /// How many items a world has, bounds included: i32.
    pub min_food: Int,
    pub max_food: Int,
    pub min_poison: Int,
    pub max_poison: Int,
    /// Steps until a life is cut off: i32.
    pub max_steps: Int,
    pub energy_start: Float,
    pub move_cost: Float,
    pub food_energy: Float,
    pub poison_energy: Float,
    /// Whether energy never changes.
    pub frozen: Bool,
    /// Whether the agent sees how interesting cells are instead of what is there.
    pub sees_interest: Bool,
    pub food_interest: Float,
    pub poison_interest: Float,
    // What is paid:
    pub food_reward: Float,
    pub poison_reward: Float,
    pub step_reward: Float,
    pub death_reward: Float,
    /// Factor of the potential, 0 for none, and its discount.
    pub potential: Float,
    pub gamma: Float,
    /// Whether a world is made anew after each life (else only the agent is).
    pub regenerate_grid_on_done: Bool,
    /// Whether an agent begins its next life on a random empty cell (else where the last one ended).
    pub relocate: Bool,
}
crate::tree!(Params {
    min_food,
    max_food,
    min_poison,
    max_poison,
    max_steps,
    energy_start,
    move_cost,
    food_energy,
    poison_energy,
    frozen,
    sees_interest,
    food_interest,
    poison_interest,
    food_reward,
    poison_reward,
    step_reward,
    death_reward,
    potential,
    gamma,
    regenerate_grid_on_done,
    relocate
});

/// Names and numbers: `jax_env_spec/goodharts/layout.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Layout {
    world: World,
    items: Counts,
    agent: Agent,
    interest: Pair,
    rewards: Rewards,
    actions: Vec<Move>,
    max_steps: i32,
    regenerate_grid_on_done: bool,
    relocate: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct World {
    width: usize,
    height: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Counts {
    min_food: i32,
    max_food: i32,
    min_poison: i32,
    max_poison: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Agent {
    energy_start: f64,
    move_cost: f64,
    food_energy: f64,
    poison_energy: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    food: f64,
    poison: f64,
}

/// What the modes pay; interest pays itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rewards {
    /// Death, in units of the energy of food.
    death_ratio: f64,
    handhold_poison: f64,
    handhold_death: f64,
    potential: f64,
    gamma: f64,
    /// Bound of what a step pays, on both sides.
    limit: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    name: String,
    does: String,
    dx: i32,
    dy: i32,
}

/// The layout, read once from the file compiled in.
fn layout() -> &'static Layout {
    const TEXT: &str = include_str!("../../../jax_env_spec/goodharts/layout.json");
    static LAYOUT: OnceLock<Layout> = OnceLock::new();
    LAYOUT.get_or_init(|| serde_json::from_str(TEXT).expect("layout.json is part of the program"))
}

/// Draws its states.
pub(super) fn painter() -> Box<dyn super::painter::Painter> {
    Box::new(painter::GoodhartsPainter)
}

/// Steps, lives and choices of the reference.
pub(super) const GOLDEN: Golden =
    Golden { help: "jax_env_spec/goodharts/README.md describes those of goodharts.", open: golden::open };

/// Why a world with these parameters cannot be: its items must fit the grid, on which the agent needs a cell.
pub(super) fn check(env: &dyn super::AnyEnv) -> Result<(), String> {
    let params = super::default_params(env);
    let number = |name: &str| {
        let param = params.iter().find(|(other, _)| other == name);
        param.map_or(0.0, |(_, value)| value.to_f64()[0])
    };
    for item in ["food", "poison"] {
        let (least, most) = (number(&format!("min_{item}")), number(&format!("max_{item}")));
        if least < 0.0 || least > most {
            return Err(format!(
                "min_{item} = {least} and max_{item} = {most} are no range of numbers from 0 on"
            ));
        }
    }
    let World { width, height } = layout().world;
    let (food, poison) = (number("max_food"), number("max_poison"));
    match food + poison < (width * height) as f64 {
        true => Ok(()),
        false => Err(format!(
            "{food} food and {poison} poison do not fit a grid of {width} x {height} cells, one of which is the agent's"
        )),
    }
}

/// No return is known from which on it is solved: it differs between modes.
pub(super) const HEALTH: Health = Health::UNKNOWN;

/// The observation, the actions and the reward in names.
pub(super) fn description() -> Description {
    let cells = |channel: usize| Group {
        name: format!("channel {channel}"),
        count: VIEW * VIEW,
        features: vec![Feature {
            name: "cell".into(),
            is: match channel {
                0 => "1 at food; modes without sight of kinds: how interesting the cell is".into(),
                _ => "1 at poison; modes without sight of kinds: the same as channel 0".into(),
            },
        }],
    };
    let action = |Move { name, does, .. }: &Move| Action { name: name.clone(), does: does.clone() };
    let reward = |(name, pays, per): &(&str, &str, &str)| Reward {
        name: (*name).into(),
        pays: (*pays).into(),
        per: (*per).into(),
    };
    Description {
        observation: vec![cells(0), cells(1)],
        actions: layout().actions.iter().map(action).collect(),
        rewards: REWARDS.iter().map(reward).collect(),
        params: Vec::new(),
    }
}

/// Parts of the reward: name, what it pays, per what.
const REWARDS: [(&str, &str, &str); 5] = [
    ("food", "food_reward", "food eaten"),
    ("poison", "poison_reward", "poison eaten"),
    ("step", "step_reward", "step"),
    ("death", "death_reward", "death"),
    ("shaping", "gamma * potential after - potential before", "step, within the limit of the sum"),
];

/// What a step did.
#[derive(Clone, Copy)]
struct Eaten {
    food: Bool,
    poison: Bool,
    /// The food that was in sight before, a word for each row: u32\[VIEW\].
    in_sight: Int,
}

impl Env for Goodharts {
    type State = State;
    type Params = Params;

    fn spec(&self) -> EnvSpec {
        let reward = |(name, pays, per): &(&str, &str, &str)| Metric::reward(name, pays, per);
        let eaten = |name: &str| Metric {
            name: format!("stats/{name}_eaten"),
            aggregate: Aggregate::Mean,
            unit: "items per step",
            description: format!("share of the steps in which {name} was eaten"),
        };
        let of_lives = |name: &str| Metric {
            name: format!("stats/{name}_of_ended_lives"),
            aggregate: Aggregate::Mean,
            unit: "items per step",
            description: format!("{name} that was eaten in lives which ended, by the steps of all"),
        };
        let food_count = Metric {
            name: "stats/food_count_of_ended_lives".into(),
            aggregate: Aggregate::Mean,
            unit: "items per step",
            description: "food that the worlds of lives which ended are meant to hold, by the steps of all"
                .into(),
        };
        let action = |(number, action): (usize, &'static Move)| (action.name.as_str(), number..number + 1);
        EnvSpec {
            privileged_shape: Some(vec![2 + 2 * VIEW * VIEW]),
            sparse_obs: true,
            metrics: (REWARDS.iter().map(reward))
                .chain(["food", "poison"].map(eaten))
                .chain(["food", "poison"].map(of_lives))
                .chain([food_count])
                .collect(),
            action_groups: layout().actions.iter().enumerate().map(action).collect(),
            ..EnvSpec::new("goodharts", [2, VIEW, VIEW], layout().actions.len())
        }
    }

    fn default_params(&self) -> Params {
        let Layout { items, agent, interest, rewards, max_steps, .. } = layout();
        let mode = self.mode;
        let [food, poison, step, death] = match mode {
            Mode::GroundTruth | Mode::GroundTruthBlinded => {
                let death = -rewards.death_ratio * agent.food_energy;
                [agent.food_energy, agent.poison_energy, -agent.move_cost, death]
            }
            Mode::GroundTruthHandhold => {
                [agent.food_energy, rewards.handhold_poison, -agent.move_cost, rewards.handhold_death]
            }
            Mode::ProxyMortal | Mode::Proxy => [interest.food, interest.poison, 0.0, 0.0],
        };
        Params {
            min_food: int(items.min_food),
            max_food: int(items.max_food),
            min_poison: int(items.min_poison),
            max_poison: int(items.max_poison),
            max_steps: int(*max_steps),
            energy_start: float(agent.energy_start),
            move_cost: float(agent.move_cost),
            food_energy: float(agent.food_energy),
            poison_energy: float(agent.poison_energy),
            frozen: boolean(mode.is_immortal()),
            sees_interest: boolean(mode.sees_interest()),
            food_interest: float(interest.food),
            poison_interest: float(interest.poison),
            food_reward: float(food),
            poison_reward: float(poison),
            step_reward: float(step),
            death_reward: float(death),
            potential: float(if mode == Mode::GroundTruthHandhold { rewards.potential } else { 0.0 }),
            gamma: float(rewards.gamma),
            regenerate_grid_on_done: boolean(layout().regenerate_grid_on_done),
            relocate: boolean(layout().relocate),
        }
    }

    fn reset(&self, p: &Params, key: Key) -> State {
        let [food_key, poison_key, items_key, place_key] = key.split();
        let between = |key: Key, low: Int, high: Int| low + crate::lang::below(key.bits([]), high - low + 1);
        let food_count = between(food_key, p.min_food, p.max_food);
        let poison_count = between(poison_key, p.min_poison, p.max_poison);
        let items = self.grid.scatter(items_key, food_count, poison_count, p.max_food + p.max_poison);
        let (cell, _) = self.grid.free_cell(items, place_key, boolean(true));
        let (x, y) = self.grid.place(cell);
        let (life, last_life) = (Life::new(), Life::new());
        State { items, food_count, poison_count, x, y, energy: p.energy_start, life, last_life }
    }

    fn restart(&self, p: &Params, key: Key, ended: State) -> State {
        cond(
            p.regenerate_grid_on_done,
            (key, ended),
            |(key, _)| self.reset(p, key),
            |(key, ended)| {
                let (cell, _) = self.grid.free_cell(ended.items, key, boolean(true));
                let (x, y) = self.grid.place(cell);
                State {
                    x: select(p.relocate, x, ended.x),
                    y: select(p.relocate, y, ended.y),
                    energy: p.energy_start,
                    life: Life::new(),
                    last_life: ended.life,
                    ..ended
                }
            },
        )
    }

    fn step(&self, p: &Params, key: Key, s: State, action: Int) -> Step<State> {
        let (moved, eaten) = self.walk(p, key, s, action);
        self.judge(p, moved, eaten)
    }

    fn players(&self) -> Vec<Player> {
        scripted::players(self.mode)
    }

    fn observe(&self, p: &Params, s: &State) -> Observation {
        let [food, poison] = self.view(s);
        let interest = food * p.food_interest + poison * p.poison_interest;
        let seen = [select(p.sees_interest, interest, food), select(p.sees_interest, interest, poison)];
        let density = |count: Int, low: Int, high: Int| {
            let (low, high) = (low.as_f32(), high.as_f32());
            let half = select(high.eq(low), 1.0, (high - low) / 2.0);
            ((count.as_f32() - (low + high) / 2.0) / half).expand_dims(0)
        };
        let densities = [
            density(s.food_count, p.min_food, p.max_food),
            density(s.poison_count, p.min_poison, p.max_poison),
        ];
        let truth = [densities[0], densities[1], food.flatten(), poison.flatten()];
        Observation { actor: stack(seen), privileged: Some(crate::lang::concatenate(0, truth)) }
    }
}

/// What is paid if something happened.
fn paid(happened: Bool, reward: Float) -> Float {
    select(happened, reward, 0.0)
}

impl Goodharts {
    /// Moves the agent, which eats what it comes upon; the same item appears elsewhere.
    fn walk(&self, p: &Params, key: Key, s: State, action: Int) -> (State, Eaten) {
        let grid = self.grid;
        let along = |of: fn(&Move) -> i32| {
            constant(layout().actions.iter().map(of).collect::<Vec<i32>>()).at(action).get()
        };
        let (dx, dy) = (along(|action| action.dx), along(|action| action.dy));
        let (x, y) = (grid.right_of(s.x, dx), grid.below(s.y, dy));
        let cell = grid.cell(x, y);
        // What is read of the food as it was leads to the food as it will be: so it is read before it changes, and changes where it lies.
        let in_sight = self.food_in_sight(&s);
        let food = ((in_sight.at(dy + RADIUS as i32).get() >> (dx + RADIUS as i32).as_u32()) & 1).eq(1);
        let poison = grid.holds(s.items.poison, cell);
        let change = |energy: Float, by: Float| select(p.frozen, energy, energy + by);
        let energy = change(s.energy, -p.move_cost);
        let energy = select(food, change(energy, p.food_energy), energy);
        let energy = select(poison, change(energy, p.poison_energy), energy);
        // The agent's cell still holds what it eats, so nothing appears there.
        let (place, there) = grid.free_cell(s.items, key, food | poison);
        let items = Items {
            food: grid.change(s.items.food, (cell, food), (place, food & there)),
            poison: grid.change(s.items.poison, (cell, poison), (place, poison & there)),
        };
        let life = Life {
            steps: s.life.steps + 1,
            food: s.life.food + food.as_i32(),
            poison: s.life.poison + poison.as_i32(),
        };
        let moved = State { items, x, y, energy, life, ..s };
        (moved, Eaten { food, poison, in_sight })
    }

    /// What a step to `moved` pays, and whether the life is over.
    fn judge(&self, p: &Params, moved: State, eaten: Eaten) -> Step<State> {
        let died = moved.energy.le(0.0);
        let base = [
            paid(eaten.food, p.food_reward),
            paid(eaten.poison, p.poison_reward),
            p.step_reward,
            paid(died, p.death_reward),
        ];
        let sum = base[0] + base[1] + base[2] + base[3];
        let shaping = cond(
            p.potential.gt(0.0),
            (eaten.in_sight, self.food_in_sight(&moved)),
            |(before, after)| {
                let after = select(died, 0.0, potential(after));
                p.potential * (p.gamma * after - potential(before))
            },
            |_| float(0.0),
        );
        let limit = layout().rewards.limit;
        let reward = (sum + shaping).clamp(-limit, limit);
        let eaten = [eaten.food, eaten.poison].map(Bool::as_f32);
        let cut_off = moved.life.steps.ge(p.max_steps);
        let of_life = [moved.life.food, moved.life.poison, moved.food_count]
            .map(|count| select(died | cut_off, count, 0).as_f32());
        Step {
            reward,
            terminated: died,
            truncated: Some(cut_off),
            metrics: [&base[..], &[reward - sum], &eaten, &of_life].concat(),
            state: moved,
        }
    }

    /// Food and poison around the agent, 0 or 1: f32\[VIEW, VIEW\] each.
    fn view(&self, s: &State) -> [Float; 2] {
        [s.items.food, s.items.poison].map(|items| spread(self.grid.window(items, s.x, s.y)).as_f32())
    }

    /// The food around the agent, a word for each row: u32\[VIEW\].
    fn food_in_sight(&self, s: &State) -> Int {
        self.grid.window(s.items.food, s.x, s.y)
    }
}

/// How near food in a window is: 1 / (distance + 0.5), 0 if none is in sight.
fn potential(food: Int) -> Float {
    let distance = |cell: usize| {
        let from_middle = |i: usize| i as f32 - RADIUS as f32;
        from_middle(cell / VIEW).hypot(from_middle(cell % VIEW))
    };
    let near: Vec<f32> = (0..VIEW * VIEW).map(|cell| 1.0 / (distance(cell) + 0.5)).collect();
    (spread(food).as_f32().flatten() * constant(near)).max_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{DType, HostArray};
    use crate::lang::{Backend, HostFunction, vmap_last};

    const WORLDS: usize = 64;

    /// The first states of worlds of 8 x 7 cells with that much food and poison.
    fn worlds(food: i32, poison: i32) -> (Grid, Vec<(String, HostArray)>) {
        worlds_of(Goodharts::new(8, 7).unwrap(), food, poison)
    }

    fn worlds_of(world: Goodharts, food: i32, poison: i32) -> (Grid, Vec<(String, HostArray)>) {
        let counts = Int::placeholder(DType::I32, [2]);
        let reset = HostFunction::new(&Backend::Oracle, "reset", &counts, |counts| {
            let [food, poison] = counts.unstack();
            let params = Params {
                min_food: food,
                max_food: food,
                min_poison: poison,
                max_poison: poison,
                ..world.default_params()
            };
            vmap_last(Key::new(3).split_last(WORLDS), |key| world.reset(&params, key))
        });
        let states = reset.unwrap().call(&[HostArray::new(&[2], vec![food, poison])]).unwrap();
        (world.grid, states.into_named())
    }

    #[test]
    fn a_new_world_has_its_items_on_different_cells_and_the_agent_on_an_empty_one() {
        for (food, poison) in [(0, 0), (3, 5), (20, 20), (55, 0), (30, 25), (40, 40)] {
            let (grid, states) = worlds(food, poison);
            let of = |name: &str, lane: usize| -> Vec<f64> {
                let array = &states.iter().find(|(other, _)| other == name).unwrap().1;
                array.to_f64().into_iter().skip(lane).step_by(WORLDS).collect()
            };
            for lane in 0..WORLDS {
                let cells = |name: &str| -> Vec<usize> {
                    let bits: Vec<u32> = of(name, lane).into_iter().map(|word| word as u32).collect();
                    let cells: Vec<usize> =
                        (0..grid.size()).filter(|cell| grid.has(&bits, cell % 8, cell / 8)).collect();
                    assert_eq!(bits, grid.bits(cells.iter().copied()), "copies of cells");
                    cells
                };
                let (food_cells, poison_cells) = (cells("items.food"), cells("items.poison"));
                assert!(food_cells.iter().all(|cell| !poison_cells.contains(cell)));
                assert_eq!(food_cells.len(), food as usize);
                assert_eq!(poison_cells.len(), (poison as usize).min(grid.size() - food as usize));
                let place = of("y", lane)[0] as usize * 8 + of("x", lane)[0] as usize;
                let full = food + poison >= 56;
                assert!(full || !food_cells.contains(&place) && !poison_cells.contains(&place));
            }
        }
    }

    /// There, many cells are drawn at a time, and some of them are equal.
    #[test]
    fn a_new_world_of_the_usual_size_has_all_its_items() {
        let (food, poison) = (256, 200);
        let (grid, states) = worlds_of(Goodharts::default(), food, poison);
        let words = |name: &str| states.iter().find(|(other, _)| other == name).unwrap().1.to_f64();
        let (of_food, of_poison) = (words("items.food"), words("items.poison"));
        for lane in 0..WORLDS {
            let bits = |words: &[f64]| -> Vec<u32> {
                words.iter().skip(lane).step_by(WORLDS).map(|word| *word as u32).collect()
            };
            let (food_bits, poison_bits) = (bits(&of_food), bits(&of_poison));
            let cells = |bits: &[u32]| -> Vec<usize> {
                (0..grid.size()).filter(|cell| grid.has(bits, cell % grid.width, cell / grid.width)).collect()
            };
            let (food_cells, poison_cells) = (cells(&food_bits), cells(&poison_bits));
            assert_eq!(food_bits, grid.bits(food_cells.iter().copied()), "copies of cells");
            assert_eq!([food_cells.len(), poison_cells.len()], [food as usize, poison as usize]);
            assert!(food_cells.iter().all(|cell| !poison_cells.contains(cell)));
        }
    }

    #[test]
    fn places_are_drawn_with_equal_probability() {
        let (grid, states) = worlds(4, 4);
        let mut counts = vec![0.0; grid.size()];
        for name in ["items.food", "items.poison"] {
            let words = states.iter().find(|(other, _)| other == name).unwrap().1.to_f64();
            for lane in 0..WORLDS {
                let bits: Vec<u32> =
                    words.iter().skip(lane).step_by(WORLDS).map(|word| *word as u32).collect();
                (0..grid.size())
                    .for_each(|cell| counts[cell] += f64::from(grid.has(&bits, cell % 8, cell / 8)));
            }
        }
        let expected = (8 * WORLDS) as f64 / grid.size() as f64;
        let chi_squared: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
        // 55 degrees of freedom: above 103 with a probability of 1e-4.
        assert!(chi_squared < 103.0, "{chi_squared}");
    }

    #[test]
    fn a_world_smaller_than_half_a_window_is_refused() {
        assert!(Goodharts::new(4, 20).unwrap_err().contains("a world of 4 x 20 cells is too small"));
    }
}
