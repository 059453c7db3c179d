//! Comparing one result with one outcome, field by field.

use std::collections::HashSet;
use std::fmt::{Debug, Display};

use super::record::{Outcome, Spawn};
use crate::envs::hackmatrix::host::is_valid_layout;
use crate::envs::hackmatrix::host::layout::{CELL_FEATURES, GRID_START, OBS, layout};
use crate::envs::hackmatrix::host::{Board, Cell, Enemy, Game, Snapshot, StepResult};

/// The feature of a cell that shows its transmission.
const TRANSMISSION: usize = 36;
/// Snapshots in a record's history, at most.
const HISTORY: usize = 4;
/// How far a reward may be from the recorded one.
const REWARD_TOLERANCE: f32 = 1e-4;

/// A list of differences, each a line for people.
pub type Differences = Vec<String>;

/// Every difference between what was expected and what came; none if the result is this outcome.
/// `history_capacity` and `keeps_hints` are those of [`Player`](super::Player).
pub fn differences(
    outcome: &Outcome,
    result: &StepResult,
    history_capacity: usize,
    keeps_hints: bool,
) -> Differences {
    let mut found = Vec::new();
    let mut state = result.state.clone();
    let spawned = match &outcome.spawn {
        Some(spawn) => cut_spawned(spawn, outcome.stage_generated, &mut state, &mut found),
        None => Vec::new(),
    };
    compare_states(&outcome.after, &state, keeps_hints, &mut found);
    if outcome.stage_generated {
        check_generated(outcome, &result.state, &mut found);
    } else {
        compare("exit", &outcome.after.exit, &state.exit, &mut found);
        compare_boards("", &outcome.after.board, &state.board, &mut found);
    }
    compare_histories(outcome, &result.state, history_capacity, keeps_hints, &mut found);
    compare_rewards(outcome, result, &mut found);
    compare("done", &outcome.done, &result.done, &mut found);
    compare("invalid_action", &outcome.invalid_action, &result.invalid_action, &mut found);
    compare("stage_complete", &outcome.stage_complete, &result.stage_complete, &mut found);
    compare("victory", &outcome.victory, &result.victory, &mut found);
    compare("info stage", &outcome.stage, &result.stage, &mut found);
    compare("info score", &outcome.score, &result.score, &mut found);
    compare("info hp", &outcome.hp, &result.hp, &mut found);
    found.extend(obs_differences(&outcome.obs, &closed_part(outcome, result, &spawned)));
    found
}

/// Compares two values. The name is a [`Display`], so that it costs nothing while they are equal.
fn compare<T: PartialEq + Debug>(name: impl Display, expected: &T, got: &T, found: &mut Differences) {
    if expected != got {
        found.push(format!("{name}: expected {expected:?}, got {got:?}"));
    }
}

/// Cuts the new transmissions off the state, checks them, and gives their cells.
fn cut_spawned(spawn: &Spawn, new_stage: bool, state: &mut Game, found: &mut Differences) -> Vec<Cell> {
    let Some(kept) = state.transmissions.len().checked_sub(spawn.count) else {
        found
            .push(format!("transmissions: expected {} new ones, got {:?}", spawn.count, state.transmissions));
        return Vec::new();
    };
    let new = state.transmissions.split_off(kept);
    for (transmission, flags) in new.iter().zip(&spawn.flags) {
        compare("turns of a new transmission", &1, &transmission.turns, found);
        let got = [transmission.from_siphon as i32, transmission.from_scheduled as i32];
        compare("origin of a new transmission", flags, &got, found);
    }
    let cells: Vec<Cell> = new.iter().map(|transmission| transmission.at).collect();
    let different: HashSet<Cell> = cells.iter().copied().collect();
    compare("cells with new transmissions", &spawn.count, &different.len(), found);
    if !new_stage {
        let within = |list: &[usize]| cells.iter().filter(|cell| list.contains(&cell.index())).count();
        compare("new transmissions on free cells", &spawn.count, &within(&spawn.empty), found);
        let sheltered = spawn.count.min(spawn.preferred.len().saturating_sub(3));
        if within(&spawn.preferred) < sheltered {
            let got = within(&spawn.preferred);
            found.push(format!("new transmissions out of the line of fire: expected {sheltered}, got {got}"));
        }
    }
    cells
}

/// Compares everything but board, exit and history.
fn compare_states(expected: &Game, got: &Game, hints: bool, found: &mut Differences) {
    compare("player", &expected.player, &got.player, found);
    compare("hp", &expected.hp, &got.hp, found);
    compare("credits", &expected.credits, &got.credits, found);
    compare("energy", &expected.energy, &got.energy, found);
    compare("data_siphons", &expected.data_siphons, &got.data_siphons, found);
    compare("attack", &expected.attack, &got.attack, found);
    compare("score", &expected.score, &got.score, found);
    compare("stage", &expected.stage, &got.stage, found);
    compare("turn", &expected.turn, &got.turn, found);
    compare("show", &expected.show, &got.show, found);
    compare("scheduled_disabled", &expected.scheduled_disabled, &got.scheduled_disabled, found);
    compare("step_active", &expected.step_active, &got.step_active, found);
    compare("atk_plus_uses", &expected.atk_plus_uses, &got.atk_plus_uses, found);
    compare("scheduled_interval", &expected.scheduled_interval, &got.scheduled_interval, found);
    compare("next_scheduled_turn", &expected.next_scheduled_turn, &got.next_scheduled_turn, found);
    compare("pending_siphon", &expected.pending_siphon, &got.pending_siphon, found);
    compare("owned", &sorted(&expected.owned), &sorted(&got.owned), found);
    compare_lists("enemies", &seen(&expected.enemies, hints), &seen(&got.enemies, hints), found);
    compare_lists("transmissions", &expected.transmissions, &got.transmissions, found);
}

/// Programs are compared as a set.
fn sorted(owned: &[usize]) -> Vec<usize> {
    let mut sorted = owned.to_vec();
    sorted.sort();
    sorted
}

/// The enemies as they are compared: without hints, if those are not kept.
fn seen(enemies: &[Enemy], hints: bool) -> Vec<Enemy> {
    let without = |enemy: &Enemy| Enemy { hint: enemy.hint.filter(|_| hints), ..enemy.clone() };
    enemies.iter().map(without).collect()
}

/// Compares two lists and names the first entry that differs.
fn compare_lists<T: PartialEq + Debug>(
    name: impl Display,
    expected: &[T],
    got: &[T],
    found: &mut Differences,
) {
    compare(format_args!("number of {name}"), &expected.len(), &got.len(), found);
    for (index, (expected, got)) in expected.iter().zip(got).enumerate() {
        compare(format_args!("{name}[{index}]"), expected, got, found);
    }
}

fn compare_boards(place: &str, expected: &Board, got: &Board, found: &mut Differences) {
    for cell in Cell::all() {
        let mut compare_values = |name: &str, expected: i32, got: i32| {
            compare(format_args!("{place}{name} ({}, {})", cell.row, cell.col), &expected, &got, found);
        };
        macro_rules! compare_grids {
            ($($grid:ident)*) => {
                $(compare_values(stringify!($grid), expected.$grid[cell] as i32, got.$grid[cell] as i32);)*
            };
        }
        compare_grids!(block_type question_is_data block_points block_program block_spawn siphoned);
        compare_grids!(siphon_center res_credits res_energy data_siphon exit_cell);
    }
}

/// Checks what the rules say about every generated stage.
fn check_generated(outcome: &Outcome, got: &Game, found: &mut Differences) {
    let mut require = |holds: bool, rule: String| {
        if !holds {
            found.push(format!("new stage: {rule}"));
        }
    };
    let board = &got.board;
    let enemies = outcome.after.enemies.iter().map(|enemy| enemy.at);
    let stayed: Vec<Cell> = enemies.chain(outcome.after.transmissions.iter().map(|t| t.at)).collect();
    let blocks = Cell::all().filter(|&cell| board.has_block(cell)).count();
    require(blocks == 0 || (5..=11).contains(&blocks), format!("{blocks} blocks, not 5 to 11"));
    let corner = Cell::CORNERS.contains(&got.exit) && got.exit != got.player;
    require(is_valid_layout(board, got.exit), "the layout cuts off a cell or a block".into());
    require(corner, format!("the exit {:?} is no free corner", got.exit));
    let mut programs = HashSet::new();
    for cell in Cell::all() {
        let at = format!("({}, {})", cell.row, cell.col);
        let corner = Cell::CORNERS.contains(&cell);
        let block = board.has_block(cell);
        let pickup = corner && cell != got.player && cell != got.exit;
        require(board.exit_cell[cell] == (cell == got.exit), format!("exit_cell {at} is not the exit"));
        require(board.data_siphon[cell] == pickup, format!("data_siphon {at} must be {pickup}"));
        require(!board.siphoned[cell] && !board.siphon_center[cell], format!("{at} is siphoned"));
        require(!block || !(corner || stayed.contains(&cell)), format!("a block on {at}"));
        let resource = board.res_credits[cell] + board.res_energy[cell];
        let single = board.res_credits[cell] == 0 || board.res_energy[cell] == 0;
        let right =
            if block || cell == got.exit { resource == 0 } else { (1..=3).contains(&resource) && single };
        require(right, format!("resource {resource} on {at}"));
        if !block {
            continue;
        }
        let (points, program) = (board.block_points[cell], board.block_program[cell]);
        if board.holds_data(cell) {
            let right = (1..=9).contains(&points) && program == 0 && board.block_spawn[cell] == points;
            require(right, format!("data block {at} has points {points}, spawn {}", board.block_spawn[cell]));
        } else {
            let spawn = layout().programs.get(program as usize).map(|program| program.spawn);
            require(points == 0 && spawn == Some(board.block_spawn[cell]), format!("program block {at}"));
            require(programs.insert(program), format!("program {program} twice"));
        }
    }
    let free = |cell: Cell| cell != got.player && !board.has_block(cell) && !stayed.contains(&cell);
    let new = got.transmissions.iter().skip(outcome.after.transmissions.len());
    new.for_each(|t| require(free(t.at), format!("a new transmission on the occupied cell {:?}", t.at)));
}

/// Compares the newest snapshots, as many as both sides keep.
fn compare_histories(outcome: &Outcome, got: &Game, capacity: usize, hints: bool, found: &mut Differences) {
    let mut expected = outcome.after.history.clone();
    if outcome.pushes_snapshot {
        expected.push(got.snapshot());
    }
    let (wanted, have) = (expected.len(), got.history.len().min(HISTORY));
    // An implementation with a short memory may have forgotten the oldest; nobody has more to remember.
    let forgotten = capacity < HISTORY && have < wanted;
    if have != wanted && !forgotten {
        found.push(format!("number of snapshots: expected {wanted}, got {have}"));
    }
    for (age, (expected, got)) in expected.iter().rev().zip(got.history.iter().rev()).enumerate() {
        compare_snapshots(&format!("snapshot {age} from the newest: "), expected, got, hints, found);
    }
}

fn compare_snapshots(place: &str, expected: &Snapshot, got: &Snapshot, hints: bool, found: &mut Differences) {
    macro_rules! compare_fields {
        ($($field:ident)*) => {
            $(compare(format_args!("{place}{}", stringify!($field)), &expected.$field, &got.$field, found);)*
        };
    }
    compare_fields!(player hp credits energy data_siphons attack score turn show scheduled_disabled atk_plus_uses);
    compare(format_args!("{place}owned"), &sorted(&expected.owned), &sorted(&got.owned), found);
    let enemies = (seen(&expected.enemies, hints), seen(&got.enemies, hints));
    compare_lists(format_args!("{place}enemies"), &enemies.0, &enemies.1, found);
    compare_lists(format_args!("{place}transmissions"), &expected.transmissions, &got.transmissions, found);
    compare_boards(place, &expected.board, &got.board, found);
}

fn compare_rewards(outcome: &Outcome, result: &StepResult, found: &mut Differences) {
    for ((reward, expected), got) in layout().rewards.iter().zip(outcome.rewards).zip(result.rewards) {
        if (expected - got).abs() > REWARD_TOLERANCE || got.is_nan() {
            found.push(format!("reward {}: expected {expected}, got {got}", reward.name));
        }
    }
}

/// The observation with zeros where the outcome leaves it open.
fn closed_part(outcome: &Outcome, result: &StepResult, spawned: &[Cell]) -> Vec<f32> {
    let mut obs = result.obs.clone();
    for (index, value) in obs.iter_mut().enumerate().skip(GRID_START) {
        let (cell, feature) = ((index - GRID_START) / CELL_FEATURES, (index - GRID_START) % CELL_FEATURES);
        let new = feature == TRANSMISSION && spawned.contains(&Cell::from_index(cell));
        let open = outcome.stage_generated && feature > 6 && feature != TRANSMISSION;
        if new || open {
            *value = 0.0;
        }
    }
    obs
}

/// Differences of two observations, bit for bit.
pub(super) fn obs_differences(expected: &[f32], got: &[f32]) -> Differences {
    if got.len() != OBS {
        return vec![format!("obs: expected {OBS} numbers, got {}", got.len())];
    }
    let different = (0..OBS).filter(|&index| expected[index].to_bits() != got[index].to_bits());
    let line = |index: usize| {
        format!("obs[{index}] {}: expected {}, got {}", obs_name(index), expected[index], got[index])
    };
    different.map(line).collect()
}

/// What an index of the observation means.
fn obs_name(index: usize) -> String {
    let Some(in_grid) = index.checked_sub(GRID_START) else {
        let players = layout().player.iter().map(|feature| &feature.name);
        let programs = layout().programs.iter().map(|program| &program.raw);
        return players.chain(programs).nth(index).cloned().unwrap_or_default();
    };
    let cell = Cell::from_index(in_grid / CELL_FEATURES);
    format!("{} of cell ({}, {})", layout().cell[in_grid % CELL_FEATURES].name, cell.row, cell.col)
}
