//! The reward: fifteen parts whose sum is paid. Rules, section 8.

use crate::lang::{Bool, Float, Int, arange, float, int, int_u64, rare, select};

use super::Params;
use super::actions::Deed;
use super::bits::{only_if, read};
use super::board::{Place, cross, down, left, neighbours, right, up};
use super::host::layout::{Coefficient, FIRST_PROGRAM, REWARDS, SIPHON, layout};
use super::programs;
use super::state::{State, World};

/// Everything that the reward depends on.
pub struct Transition<'a> {
    pub before: &'a State,
    pub after: &'a State,
    pub action: Int,
    pub deed: Deed,
    pub enemies_acted: Bool,
    pub victory: Bool,
}

/// The parts, f32 each, in the order of the layout.
#[track_caller]
pub fn parts(params: &Params, transition: &Transition) -> [Float; REWARDS] {
    let Transition { before, after, action, deed, enemies_acted, victory } = *transition;
    let (then, now) = (&before.world, &after.world);
    let died = now.hp.eq(0);
    let completed = deed.exit_reached;
    let when = |flag: Bool, amount: Float| select(flag, amount, 0.0);
    let gained = |after: Int, before: Int| (after - before).as_f32();
    let hp_change = gained(now.hp, then.hp);
    let siphons = deed.succeeded & action.eq(SIPHON);
    let resets = deed.succeeded & action.eq((FIRST_PROGRAM + programs::RESET) as i32);
    let amounts = [
        deed.succeeded.as_f32(),
        when(completed, by_stage(before.stage, |stage| layout().stage_completion[stage])),
        gained(now.score, then.score),
        deed.kills.as_f32(),
        deed.pickup.as_f32(),
        cells_closer(transition).as_f32(),
        hp_change.minimum(0.0),
        hp_change.maximum(0.0),
        when(victory, now.score.as_f32()),
        when(died, by_stage(after.stage, |stage| layout().stage_completion[..stage].iter().sum())),
        (died & enemies_acted & siphon_enemy_adjacent(now)).as_f32(),
        gained(now.credits, then.credits) + gained(now.energy, then.energy),
        when(completed, now.credits.as_f32() + now.energy.as_f32()),
        (resets & then.hp.eq(2)).as_f32(),
        rare(siphons, (then.player, int(0)), |(player, _)| (player, missed_by_siphon(then))).1.as_f32(),
    ];
    let coefficients = layout().rewards.iter().map(|reward| match &reward.coefficient {
        Coefficient::Fixed(value) => float(*value as f64),
        Coefficient::Param(name) => params.coefficient(name),
    });
    let paid: Vec<Float> =
        coefficients.zip(amounts).map(|(coefficient, amount)| coefficient * amount).collect();
    let mut parts: [Float; REWARDS] = paid.try_into().expect("fifteen parts");
    parts[8] = parts[8] + when(victory, float(layout().victory_bonus as f64));
    parts
}

/// A constant for each stage 1..=8.
#[track_caller]
fn by_stage(stage: Int, value: impl Fn(usize) -> f32) -> Float {
    (0..8).fold(float(0.0), |sum, index| select(stage.eq(index as i32 + 1), float(value(index) as f64), sum))
}

#[track_caller]
fn siphon_enemy_adjacent(world: &World) -> Bool {
    let list = &world.enemies.list;
    let cells = neighbours(world.player);
    (list.on(cells) & list.from_siphon).ne(0)
}

/// How much closer to the logical exit the player came; never negative.
#[track_caller]
fn cells_closer(transition: &Transition) -> Int {
    let Transition { before, after, deed, .. } = transition;
    let closer = (before.distance - after.distance).maximum(0);
    let closer = select(deed.exit_reached, before.distance, closer);
    select(after.world.hp.eq(0), 0, closer)
}

/// Credits and energy that another position would have added to the same blocks: the most of each. Rules, section
/// 8.4.
#[track_caller]
fn missed_by_siphon(world: &World) -> Int {
    let board = &world.board;
    let player = world.player;
    let fresh = !board.siphoned;
    // A player on a block gains nothing.
    let gains = (player & board.blocks).eq(0);
    let own = only_if(gains, cross(player) & fresh);
    let data = board.data & fresh;
    let own_data = own & data;

    let not_owned = unowned_programs(world) & fresh;
    let (own_programs, others) = same_programs(world, own & not_owned, not_owned);
    let takes_blocks = (own_data | own_programs).ne(0);

    // A candidate's cross has no data and no new program but the player's own, and covers his blocks.
    let mut candidates = !board.blocks & !cross(data & !own_data) & !cross(others);
    for side in [up, down, left, right] {
        let block = side(player) & own & board.blocks;
        let uncovered = takes_blocks & block.ne(0);
        candidates = select(uncovered, candidates & cross(block), candidates);
    }

    let bare = fresh & !board.blocks;
    let flags = ((candidates.fill(&[36]) >> arange(36).as_u64()) & 1).eq(1);
    let cells = int_u64(1).fill(&[36]) << arange(36).as_u64();
    let crosses = cross(cells) & bare;
    let yields = |digits: [Int; 2]| {
        let amount = |cells: Int| {
            ((cells & digits[0]).count_ones() + ((cells & digits[1]).count_ones() << 1)).as_i32()
        };
        amount(crosses) - amount(own & bare)
    };
    let (credits, energy) = (yields(board.credits), yields(board.energy));
    let better = flags & credits.ge(0) & energy.ge(0);
    let most = |more: Int| select(better, more, 0).max_all();
    most(credits) + most(energy)
}

/// The program blocks that hold a program that is not owned.
#[track_caller]
fn unowned_programs(world: &World) -> Int {
    let board = &world.board;
    let numbers = numbers(&board.value);
    let owned = (world.owned.fill(&[36]) >> numbers) & 1;
    board.programs() & set_of(owned.eq(0))
}

/// Of the player's own new programs the cells, and all other cells with a new program that is none of those.
#[track_caller]
fn same_programs(world: &World, own: Int, not_owned: Int) -> (Int, Int) {
    let numbers = numbers(&world.board.value);
    let bits = numbers.full_like(1) << numbers;
    let mut gained = int_u64(0);
    let player = Place::of(world.player).cell;
    for side in [up, down, left, right] {
        let cell = side(player) & own;
        let number = read(&world.board.value, cell);
        gained = gained | only_if(cell.ne(0), int_u64(1) << number);
    }
    let other = set_of((bits & gained).eq(0));
    (own, not_owned & other)
}

/// The numbers of all cells, u64 [36].
#[track_caller]
fn numbers(digits: &[Int]) -> Int {
    let of_digit = |(digit, plane): (usize, &Int)| ((plane.fill(&[36]) >> arange(36).as_u64()) & 1) << digit;
    digits.iter().enumerate().map(of_digit).reduce(|a, b| a | b).expect("some digits")
}

/// The set of cells whose flag, bool [36], holds.
#[track_caller]
fn set_of(flags: Bool) -> Int {
    select(flags, int_u64(1).fill(&[36]) << arange(36).as_u64(), 0).sum_all()
}
