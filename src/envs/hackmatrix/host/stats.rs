//! Statistics of the random part of the game, and their comparison with the recorded ones.
//!
//! Golden transitions cannot say how often something random happens. For that,
//! `jax_env_spec/hackmatrix/stats.json` holds a few thousand statistics of new games, generated stages
//! and whole episodes under the uniform policy, each with its standard error. [`Statistics`] gathers
//! the same from any implementation, and [`Statistics::compare`] tells which of them are too far off.
//!
//! Every statistic is a ratio of two sums over independent units: a new game, a generated stage, or an
//! episode. Its standard error is therefore that of a ratio estimate over units, not over steps, which
//! depend on each other within an episode.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::Value;

use super::game::{Cell, EnemyType, Game, SIDE, block};
use super::layout::{ACTIONS, CELL_FEATURES, GRID_START, PLAYER_FEATURES, REWARDS, layout};
use super::rules::{DIRECTIONS, walking_distance};
use super::step_result::StepResult;

/// A statistic as it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    pub value: f64,
    /// The standard error of `value`.
    pub se: f64,
    /// What the ratio divides by: new games, blocks, steps, ...
    pub n: f64,
}

/// The recorded statistics, by path: `reset/start_corner/(0, 0)`, ...
pub fn reference() -> &'static BTreeMap<String, Estimate> {
    const TEXT: &str = include_str!("../../../../jax_env_spec/hackmatrix/stats.json");
    static REFERENCE: OnceLock<BTreeMap<String, Estimate>> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let file: Value = serde_json::from_str(TEXT).expect("stats.json is part of the program");
        let mut leaves = BTreeMap::new();
        for group in ["reset", "stage_transition", "random_policy"] {
            collect_leaves(group, &file[group], &mut leaves);
        }
        leaves
    })
}

fn collect_leaves(path: &str, value: &Value, leaves: &mut BTreeMap<String, Estimate>) {
    match Estimate::deserialize(value) {
        Ok(leaf) => drop(leaves.insert(path.to_string(), leaf)),
        Err(_) => {
            let branches = value.as_object().expect("stats.json is a tree of estimates");
            branches
                .iter()
                .for_each(|(name, branch)| collect_leaves(&format!("{path}/{name}"), branch, leaves));
        }
    }
}

/// Sums over units, from which a ratio and its standard error follow.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    units: f64,
    amount: f64,
    count: f64,
    amount_squared: f64,
    count_squared: f64,
    product: f64,
}

impl Sums {
    fn add(&mut self, (amount, count): (f64, f64)) {
        self.units += 1.0;
        self.amount += amount;
        self.count += count;
        self.amount_squared += amount * amount;
        self.count_squared += count * count;
        self.product += amount * count;
    }

    fn estimate(&self) -> Estimate {
        let value = self.amount / self.count;
        // Sum over the units of (amount - value * count)^2; below zero only by rounding.
        let squares = self.amount_squared - 2.0 * value * self.product + value * value * self.count_squared;
        let correction = self.units / (self.units - 1.0).max(1.0);
        Estimate { value, se: (squares.max(0.0) * correction).sqrt() / self.count, n: self.count }
    }
}

/// Amount and count of each statistic in one unit.
#[derive(Default)]
struct Unit(BTreeMap<String, (f64, f64)>);

impl Unit {
    /// Adds one case to a mean.
    fn mean(&mut self, path: String, amount: f64) {
        self.ratio(path, amount, 1.0);
    }

    fn ratio(&mut self, path: String, amount: f64, count: f64) {
        let entry = self.0.entry(path).or_default();
        entry.0 += amount;
        entry.1 += count;
    }

    /// Adds one case to the shares of all `names`, one of which is `chosen`.
    fn share(&mut self, path: &str, names: &[&str], chosen: &str) {
        for name in names {
            self.mean(format!("{path}/{name}"), (*name == chosen) as i32 as f64);
        }
    }
}

/// Statistics of an implementation. Units are added one by one.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    sums: BTreeMap<String, Sums>,
}

impl Statistics {
    /// Adds a new game under the default parameters and the number of its valid actions.
    pub fn add_reset(&mut self, game: &Game, valid_actions: usize) {
        let mut unit = Unit::default();
        describe_board(&mut unit, "reset", game);
        let corners: Vec<String> = Cell::CORNERS.iter().map(cell_name).collect();
        let corners: Vec<&str> = corners.iter().map(String::as_str).collect();
        unit.share("reset/start_corner", &corners, &cell_name(&game.player));
        unit.share("reset/exit_corner", &corners, &cell_name(&game.exit));
        let bonuses = ["credits 10", "energy 11", "data_siphons 1"];
        let given = [game.credits == 10, game.energy == 11, game.data_siphons == 1];
        let bonus = given.iter().position(|&given| given).map_or("none", |index| bonuses[index]);
        unit.share("reset/start_bonus", &bonuses, bonus);
        for cell in Cell::all() {
            let path =
                format!("reset/block_on_cell_given_exit/{}/{}", cell_name(&game.exit), cell_name(&cell));
            unit.mean(path, game.board.has_block(cell) as i32 as f64);
        }
        unit.mean("reset/valid_actions".into(), valid_actions as f64);
        self.add(unit);
    }

    /// Adds a stage that was entered on a board without enemies and transmissions, as after playing
    /// [`before_stage`] under the default parameters.
    pub fn add_stage(&mut self, game: &Game) {
        let mut unit = Unit::default();
        describe_board(&mut unit, &format!("stage_transition/stage {}", game.stage), game);
        self.add(unit);
    }

    /// Adds a whole episode under the uniform policy, from reset to its end.
    pub fn add_episode(&mut self, episode: &Episode) {
        self.add(episode.unit());
    }

    fn add(&mut self, unit: Unit) {
        for (path, counted) in unit.0 {
            self.sums.entry(path).or_default().add(counted);
        }
    }

    /// All statistics so far.
    pub fn estimates(&self) -> BTreeMap<String, Estimate> {
        self.sums.iter().map(|(path, sums)| (path.clone(), sums.estimate())).collect()
    }

    /// The recorded statistics from which these are more than `limit` standard errors away, the
    /// farthest first. Compared is every recorded statistic of a kind of unit that was added.
    pub fn compare(&self, limit: f64) -> Vec<Deviation> {
        let own = self.estimates();
        let sampled = |path: &str| {
            let unit = unit_of(path);
            own.keys().any(|known| unit_of(known) == unit)
        };
        let mut deviations: Vec<Deviation> = reference()
            .iter()
            .filter(|(path, _)| sampled(path))
            .map(|(path, expected)| Deviation::new(path, *expected, own.get(path).copied()))
            .filter(|deviation| deviation.z.abs() > limit)
            .collect();
        deviations.sort_by(|a, b| b.z.abs().total_cmp(&a.z.abs()));
        deviations
    }
}

/// The part of a path that tells to which kind of unit it belongs.
fn unit_of(path: &str) -> &str {
    let parts = if path.starts_with("stage_transition") { 2 } else { 1 };
    let end = path.match_indices('/').nth(parts - 1).map_or(path.len(), |(index, _)| index);
    &path[..end]
}

/// How far a statistic is from the recorded one.
#[derive(Clone, Debug, PartialEq)]
pub struct Deviation {
    pub path: String,
    pub expected: Estimate,
    /// Nothing if no unit had anything to count.
    pub got: Option<Estimate>,
    /// The difference in standard errors.
    pub z: f64,
}

impl Deviation {
    /// Recorded values are rounded to this.
    const ROUNDING: f64 = 1e-7;

    fn new(path: &str, expected: Estimate, got: Option<Estimate>) -> Deviation {
        let z = got.map_or(f64::INFINITY, |got| {
            // A sample that missed a rare event has no spread: then the recorded spread counts.
            let se = got.se.max(expected.se * (expected.n / got.n).sqrt());
            (got.value - expected.value) / (expected.se.powi(2) + se.powi(2) + Self::ROUNDING.powi(2)).sqrt()
        });
        Deviation { path: path.to_string(), expected, got, z }
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Deviation { path, expected, got, z } = self;
        match got {
            Some(got) => {
                write!(
                    f,
                    "{path}: expected {} +- {}, got {:.7} +- {:.7}",
                    expected.value, expected.se, got.value, got.se
                )?;
                write!(f, " ({z:+.1} standard errors)")
            }
            None => write!(f, "{path}: expected {} +- {}, got nothing to count", expected.value, expected.se),
        }
    }
}

fn cell_name(cell: &Cell) -> String {
    format!("({}, {})", cell.row, cell.col)
}

const KINDS: [&str; 4] = ["none", "data", "program", "question"];
const DIGITS: [&str; 12] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"];

/// What new games and later stages have in common: exit, blocks, resources, transmissions.
fn describe_board(unit: &mut Unit, group: &str, game: &Game) {
    let board = &game.board;
    let path = |name: &str| format!("{group}/{name}");
    let exit = match (game.exit.row == game.player.row, game.exit.col == game.player.col) {
        (true, _) => "same_row",
        (_, true) => "same_col",
        _ => "opposite",
    };
    unit.share(&path("exit_relative_to_player"), &["opposite", "same_row", "same_col"], exit);
    let distance = walking_distance(board, game.player, game.exit).unwrap_or(0);
    unit.mean(path("walking_distance_to_exit"), distance as f64);

    let mut counts = [0, 0];
    for cell in Cell::all() {
        if board.has_block(cell) {
            counts[0] += 1;
            describe_block(unit, group, game, cell);
        }
        let amount = board.res_credits[cell] + board.res_energy[cell];
        if amount > 0 {
            counts[1] += 1;
            unit.share(&path("resource_amount"), &DIGITS[1..=3], &amount.to_string());
            let kind = if board.res_credits[cell] > 0 { "credits" } else { "energy" };
            unit.share(&path("resource_kind"), &["credits", "energy"], kind);
        }
    }
    unit.share(&path("block_count"), &DIGITS, &counts[0].to_string());
    unit.mean(path("resource_cells"), counts[1] as f64);
    unit.mean(path("transmissions"), game.transmissions.len() as f64);
    game.transmissions.iter().for_each(|new| describe_spawn(unit, group, game, new.at, new.kind));
}

fn describe_block(unit: &mut Unit, group: &str, game: &Game, cell: Cell) {
    let board = &game.board;
    let path = |name: &str| format!("{group}/{name}");
    let kind = board.block_type[cell];
    unit.share(&path("block_kind"), &KINDS[1..], KINDS[kind as usize]);
    unit.mean(path("block_spawn_mean"), board.block_spawn[cell] as f64);
    let data = board.holds_data(cell);
    if kind == block::QUESTION {
        unit.mean(path("question_hides_data/1"), data as i32 as f64);
    }
    if data {
        unit.share(&path("data_points"), &DIGITS[1..=9], &board.block_points[cell].to_string());
    } else {
        let names: Vec<&str> = layout().programs.iter().map(|program| program.raw.as_str()).collect();
        unit.share(&path("program"), &names, names[board.block_program[cell] as usize]);
    }
}

fn describe_spawn(unit: &mut Unit, group: &str, game: &Game, at: Cell, kind: EnemyType) {
    let path = |name: &str| format!("{group}/{name}");
    let on_edge = |coordinate: i32| coordinate == 0 || coordinate == SIDE - 1;
    let class = match (on_edge(at.row), on_edge(at.col)) {
        (true, true) => "corner",
        (false, false) => "interior",
        _ => "edge",
    };
    unit.share(&path("spawn_cell_class"), &["interior", "edge", "corner"], class);
    let content = match (game.board.exit_cell[at], game.board.data_siphon[at]) {
        (true, _) => "exit",
        (_, true) => "pickup",
        _ => "other",
    };
    unit.share(&path("spawn_content"), &["exit", "pickup", "other"], content);
    unit.mean(path("spawn_in_player_row_or_col"), at.in_line_with(game.player) as i32 as f64);
    unit.mean(path("spawn_distance_to_player"), at.distance(game.player) as f64);
    unit.share(&path("spawn_type"), &EnemyType::ALL.map(EnemyType::name), kind.name());
}

/// A game on an empty board and an action that completes the stage before `stage` (2..=8) in a corner.
pub fn before_stage(stage: i32, corner: Cell) -> (Game, i32) {
    // The last direction that leads from some cell into the corner.
    let arrival = |(rows, cols): (i32, i32)| corner.offset(-rows, -cols);
    let action = DIRECTIONS.iter().rposition(|&direction| arrival(direction).is_some());
    let action = action.expect("a corner has neighbours");
    let start = arrival(DIRECTIONS[action]).expect("it was just found");
    let mut game = Game::empty(start, corner);
    game.stage = stage - 1;
    (game, action as i32)
}

/// One episode under the uniform policy, step by step.
#[derive(Clone, Debug)]
pub struct Episode {
    length: f64,
    rewards: [f64; REWARDS],
    actions: [f64; ACTIONS],
    valid_actions: f64,
    enemies: f64,
    transmissions: f64,
    /// Sums over steps; those of cell features are means over the 36 cells.
    player: [f64; PLAYER_FEATURES],
    programs_owned: f64,
    cells: [f64; CELL_FEATURES],
    end: &'static str,
    final_stage: i32,
    final_score: i32,
}

impl Default for Episode {
    fn default() -> Episode {
        Episode {
            length: 0.0,
            rewards: [0.0; REWARDS],
            actions: [0.0; ACTIONS],
            valid_actions: 0.0,
            enemies: 0.0,
            transmissions: 0.0,
            player: [0.0; PLAYER_FEATURES],
            programs_owned: 0.0,
            cells: [0.0; CELL_FEATURES],
            end: "",
            final_stage: 1,
            final_score: 0,
        }
    }
}

impl Episode {
    /// Adds a step: the game, its observation and mask, the action chosen from them, and the result.
    pub fn add_step(
        &mut self,
        game: &Game,
        obs: &[f32],
        mask: &[bool; ACTIONS],
        action: usize,
        result: &StepResult,
    ) {
        self.length += 1.0;
        self.actions[action] += 1.0;
        self.valid_actions += mask.iter().filter(|&&valid| valid).count() as f64;
        self.enemies += game.enemies.len() as f64;
        self.transmissions += game.transmissions.len() as f64;
        let parts = self.rewards.iter_mut().zip(result.rewards);
        parts.for_each(|(sum, paid)| *sum += paid as f64);
        let player = self.player.iter_mut().zip(obs);
        player.for_each(|(sum, &value)| *sum += value as f64);
        self.programs_owned += obs[PLAYER_FEATURES..GRID_START].iter().sum::<f32>() as f64;
        for cell in obs[GRID_START..].chunks(CELL_FEATURES) {
            let features = self.cells.iter_mut().zip(cell);
            features.for_each(|(sum, &value)| *sum += value as f64 / 36.0);
        }
        self.final_stage = result.stage;
        self.final_score = result.score;
        self.end = match (result.victory, result.rewards[10] != 0.0) {
            (true, _) => "victory",
            (_, true) => "siphon_death",
            _ => "other_death",
        };
    }

    fn unit(&self) -> Unit {
        let mut unit = Unit::default();
        let names = layout().reward_names();
        let total: f64 = self.rewards.iter().sum();
        unit.mean("random_policy/episode/length".into(), self.length);
        unit.mean("random_policy/episode/length_squared".into(), self.length * self.length);
        unit.mean("random_policy/episode/return".into(), total);
        unit.mean("random_policy/episode/final_score".into(), self.final_score as f64);
        let stage = self.final_stage.to_string();
        unit.share("random_policy/episode/final_stage", &DIGITS[1..=8], &stage);
        let ends = ["victory", "siphon_death", "other_death"];
        unit.share("random_policy/episode/end", &ends, self.end);

        let mut per_step = |name: String, sum: f64| {
            unit.ratio(format!("random_policy/step/{name}"), sum, self.length);
        };
        names.iter().zip(self.rewards).for_each(|(name, sum)| per_step(format!("reward/{name}"), sum));
        per_step("reward/total".into(), total);
        let actions = layout().action_names().into_iter().zip(self.actions);
        actions.for_each(|(name, sum)| per_step(format!("action_share/{name}"), sum));
        per_step("before_action/valid_actions".into(), self.valid_actions);
        per_step("before_action/enemies".into(), self.enemies);
        per_step("before_action/transmissions".into(), self.transmissions);
        let player = self.player.iter().enumerate();
        player.for_each(|(index, &sum)| per_step(format!("observation_mean/player/{index}"), sum));
        per_step("observation_mean/programs_owned".into(), self.programs_owned);
        let cells = self.cells.iter().enumerate();
        cells.for_each(|(index, &sum)| per_step(format!("observation_mean/grid/{index}"), sum));
        unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::hackmatrix::host::rules::{Dice, Rules, Seeded, action_mask, observe};

    /// The deviations as text, for messages.
    fn list(deviations: &[Deviation]) -> String {
        deviations.iter().map(|deviation| format!("{deviation}\n")).collect()
    }

    #[test]
    fn new_games_of_the_oracle_are_distributed_as_recorded() {
        let (rules, mut dice) = (Rules::default(), Seeded::new(11));
        let mut statistics = Statistics::default();
        for _ in 0..4000 {
            let game = rules.reset(&mut dice);
            let valid = action_mask(&game).iter().filter(|&&valid| valid).count();
            statistics.add_reset(&game, valid);
        }
        let deviations = statistics.compare(4.0);
        assert!(deviations.is_empty(), "{}", list(&deviations));
    }

    #[test]
    fn stages_of_the_oracle_are_distributed_as_recorded() {
        let (rules, mut dice) = (Rules::default(), Seeded::new(12));
        let mut statistics = Statistics::default();
        for stage in 2..=8 {
            for _ in 0..400 {
                let (game, action) = before_stage(stage, dice.start_corner());
                let result = rules.step(&game, action, &mut dice);
                assert!(result.stage_complete && result.stage == stage);
                statistics.add_stage(&result.state);
            }
        }
        let deviations = statistics.compare(4.0);
        assert!(deviations.is_empty(), "{}", list(&deviations));
    }

    #[test]
    fn random_episodes_of_the_oracle_are_distributed_as_recorded() {
        let (rules, mut dice) = (Rules::default(), Seeded::new(13));
        let mut statistics = Statistics::default();
        for _ in 0..1000 {
            let mut game = rules.reset(&mut dice);
            let mut episode = Episode::default();
            loop {
                let mask = action_mask(&game);
                let valid: Vec<usize> = (0..ACTIONS).filter(|&action| mask[action]).collect();
                let action = valid[dice.below(valid.len())];
                let result = rules.step(&game, action as i32, &mut dice);
                episode.add_step(&game, &observe(&game), &mask, action, &result);
                if result.done {
                    break;
                }
                game = result.state;
            }
            statistics.add_episode(&episode);
        }
        let deviations = statistics.compare(4.0);
        assert!(deviations.is_empty(), "{}", list(&deviations));
    }

    #[test]
    fn every_recorded_statistic_is_compared() {
        let (rules, mut dice) = (Rules::default(), Seeded::new(14));
        let mut statistics = Statistics::default();
        let game = rules.reset(&mut dice);
        statistics.add_reset(&game, 3);
        for stage in 2..=8 {
            let (game, action) = before_stage(stage, Cell::new(0, 0));
            statistics.add_stage(&rules.step(&game, action, &mut dice).state);
        }
        let mut episode = Episode::default();
        let result = rules.step(&game, 0, &mut dice);
        episode.add_step(&game, &observe(&game), &action_mask(&game), 0, &result);
        statistics.add_episode(&episode);
        assert_eq!(statistics.compare(-1.0).len(), reference().len());
    }

    #[test]
    fn a_biased_generator_is_found() {
        // One resource in twenty is worth 3, instead of one in ten.
        let (rules, mut dice) = (Rules::default(), Seeded::new(15));
        let mut statistics = Statistics::default();
        for _ in 0..1000 {
            let mut game = rules.reset(&mut dice);
            for cell in Cell::all() {
                if game.board.res_credits[cell] == 3 {
                    game.board.res_credits[cell] = 1;
                }
            }
            statistics.add_reset(&game, 3);
        }
        let found = list(&statistics.compare(4.0));
        assert!(found.contains("reset/resource_amount/3"), "{found}");
    }

    #[test]
    fn a_ratio_has_the_standard_error_of_its_units() {
        let mut sums = Sums::default();
        [(1.0, 2.0), (3.0, 2.0), (2.0, 2.0), (2.0, 2.0)].into_iter().for_each(|unit| sums.add(unit));
        let estimate = sums.estimate();
        // The mean of 0.5, 1.5, 1, 1: variance 1/6, divided by 4 units.
        assert_eq!((estimate.value, estimate.n), (1.0, 8.0));
        assert!((estimate.se - (1.0f64 / 24.0).sqrt()).abs() < 1e-12);
    }
}
