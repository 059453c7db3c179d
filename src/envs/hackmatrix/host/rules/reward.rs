//! The reward: fifteen parts whose sum is paid.

use std::collections::VecDeque;

use super::{Deed, neighbours, programs};
use crate::envs::hackmatrix::host::layout::{EnvParams, FIRST_PROGRAM, REWARDS, SIPHON, layout};
use crate::envs::hackmatrix::host::{Board, Cell, Game, Grid};

/// Everything that the reward of a valid action depends on.
pub(super) struct Transition<'a> {
    pub before: &'a Game,
    pub after: &'a Game,
    pub action: i32,
    pub deed: &'a Deed,
    pub enemies_acted: bool,
    pub victory: bool,
}

/// The parts, in the order of the layout.
pub(super) fn parts(params: &EnvParams, transition: &Transition) -> [f32; REWARDS] {
    let Transition { before, after, action, deed, enemies_acted, victory } = *transition;
    let died = after.hp == 0;
    let when = |condition: bool, amount: f32| if condition { amount } else { 0.0 };
    let gained = |after: i32, before: i32| (after - before) as f32;
    let earned: f32 = layout().stage_completion[..after.stage as usize - 1].iter().sum();
    let stage_pays = layout().stage_completion[before.stage as usize - 1];
    let held = after.credits as f32 + after.energy as f32;
    let amounts = [
        1.0,
        when(deed.exit_reached, stage_pays),
        gained(after.score, before.score),
        deed.kills as f32,
        when(deed.pickup, 1.0),
        cells_closer(transition) as f32,
        gained(after.hp, before.hp).min(0.0),
        gained(after.hp, before.hp).max(0.0),
        when(victory, after.score as f32),
        when(died, earned),
        when(died && enemies_acted && siphon_enemy_adjacent(after), 1.0),
        gained(after.credits, before.credits) + gained(after.energy, before.energy),
        when(deed.exit_reached, held),
        when(action as usize == FIRST_PROGRAM + programs::RESET && before.hp == 2, 1.0),
        when(action as usize == SIPHON, missed_by_siphon(before) as f32),
    ];
    let coefficients = layout().coefficients(params);
    // Adding 0 turns the -0 of a penalty that does not apply into 0.
    let mut parts: [f32; REWARDS] = std::array::from_fn(|part| coefficients[part] * amounts[part] + 0.0);
    parts[8] += when(victory, layout().victory_bonus);
    parts
}

fn siphon_enemy_adjacent(game: &Game) -> bool {
    game.enemies.iter().any(|enemy| enemy.from_siphon && enemy.at.distance(game.player) == 1)
}

/// How much closer to the logical exit the player came; never negative.
fn cells_closer(transition: &Transition) -> i32 {
    let distance = |game: &Game| walking_distance(&game.board, game.player, game.exit).unwrap_or(0);
    if transition.after.hp == 0 {
        0
    } else if transition.deed.exit_reached {
        distance(transition.before)
    } else {
        (distance(transition.before) - distance(transition.after)).max(0)
    }
}

/// Steps from `start` to `goal` around blocks; a block on the goal is no obstacle. Nothing if cut off.
pub fn walking_distance(board: &Board, start: Cell, goal: Cell) -> Option<i32> {
    let mut distance = Grid::<Option<i32>>::default();
    distance[start] = Some(0);
    let mut queue = VecDeque::from([start]);
    while let Some(cell) = queue.pop_front() {
        if cell == goal {
            return distance[cell];
        }
        for next in neighbours(cell) {
            if distance[next].is_none() && (next == goal || !board.has_block(next)) {
                distance[next] = distance[cell].map(|steps| steps + 1);
                queue.push_back(next);
            }
        }
    }
    None
}

/// What siphoning on a cell would give.
#[derive(Default)]
struct Yield {
    credits: i32,
    energy: i32,
    /// Points of the data blocks, sorted.
    points: Vec<i32>,
    /// Programs not owned yet, sorted.
    programs: Vec<i32>,
}

/// The cell and its neighbours, without those that are already siphoned.
fn fresh_cross(game: &Game, center: Cell) -> impl Iterator<Item = Cell> {
    std::iter::once(center).chain(neighbours(center)).filter(|&cell| !game.board.siphoned[cell])
}

fn yield_of(game: &Game, center: Cell) -> Yield {
    let board = &game.board;
    let mut gain = Yield::default();
    if board.has_block(center) {
        return gain;
    }
    for cell in fresh_cross(game, center) {
        if !board.has_block(cell) {
            gain.credits += board.res_credits[cell];
            gain.energy += board.res_energy[cell];
        } else if board.holds_data(cell) {
            gain.points.push(board.block_points[cell]);
        } else if !game.owned.contains(&(board.block_program[cell] as usize)) {
            gain.programs.push(board.block_program[cell]);
        }
    }
    gain.points.sort();
    gain.programs.sort();
    gain.programs.dedup();
    gain
}

/// Credits and energy that another position would have added to the same blocks: the most of each.
fn missed_by_siphon(game: &Game) -> i32 {
    let own = yield_of(game, game.player);
    let blocks: Vec<Cell> =
        fresh_cross(game, game.player).filter(|&cell| game.board.has_block(cell)).collect();
    let takes_blocks = !own.points.is_empty() || !own.programs.is_empty();
    let mut missed = (0, 0);
    for center in Cell::all().filter(|&cell| !game.board.has_block(cell)) {
        let covers = |block: &Cell| block.distance(center) <= 1;
        if takes_blocks && !blocks.iter().all(covers) {
            continue;
        }
        let other = yield_of(game, center);
        let more = (other.credits - own.credits, other.energy - own.energy);
        let same_blocks = other.points == own.points && other.programs == own.programs;
        if same_blocks && more.0 >= 0 && more.1 >= 0 {
            missed = (missed.0.max(more.0), missed.1.max(more.1));
        }
    }
    missed.0 + missed.1
}
