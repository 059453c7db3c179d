//! The observation: 10 numbers of the player, 23 ownership flags, 42 features of each of 36 cells. Rules, section 7.

use crate::lang::{Float, Int, arange, barrier, concatenate, float, select, stack, stack_at};

use super::bits::lowest;
use super::board::Place;
use super::host::layout::{CELL_FEATURES, Feature, PROGRAMS, layout};
use super::state::State;

/// The observation, f32 [1545]; if `egocentric`, with the cells in the order of [`from_player`].
#[track_caller]
pub fn observe(state: &State, egocentric: bool) -> Float {
    let programs = (state.world.owned.fill(&[PROGRAMS]) >> arange(PROGRAMS).as_u64()) & 1;
    concatenate(0, [player(state), programs.as_f32(), cells(state, egocentric).flatten()])
}

/// Numbers of the cells, u64 [36], with the board turned around its edges so that the player's cell comes first: the cell `row` and `col` steps
/// up and right of the player stands at `6 * row + col`.
#[track_caller]
fn from_player(cells: Int, player: &Place) -> Int {
    let board = turned(turned(cells.reshape([6, 6]), 0, player.row), 1, player.col);
    board.flatten()
}

/// An array of six along an axis, turned so that what stands at `steps` (u64, 0..6) comes first.
#[track_caller]
fn turned(board: Int, axis: usize, steps: Int) -> Int {
    (0..3).fold(board, |board, digit| {
        let step = 1 << digit;
        let next = concatenate(axis, [board.slice(axis, step..6), board.slice(axis, 0..step)]);
        select(((steps >> digit) & 1).as_bool().fill(&[6, 6]), next, board)
    })
}

/// A value on the scale of a feature. It has to be a true division: a product with the reciprocal, into which the
/// compiler turns a division by a constant that it can see, has other bits.
#[track_caller]
fn scaled(feature: &Feature, value: Float) -> Float {
    let mut scaled = value;
    if feature.offset != 0.0 {
        scaled = scaled + feature.offset;
    }
    if feature.divisor != 1.0 {
        scaled = scaled / barrier(float(feature.divisor as f64));
    }
    feature.cap.map_or(scaled, |cap| scaled.minimum(cap))
}

#[track_caller]
fn player(state: &State) -> Float {
    let world = &state.world;
    let place = Place::of(world.player);
    let values = [
        place.row.as_f32(),
        place.col.as_f32(),
        world.hp.as_f32(),
        world.credits.as_f32(),
        world.energy.as_f32(),
        state.stage.as_f32(),
        world.data_siphons.as_f32(),
        world.attack.as_f32(),
        world.show.as_f32(),
        world.scheduled_disabled.as_f32(),
    ];
    let features: Vec<Float> =
        layout().player.iter().zip(values).map(|(feature, value)| scaled(feature, value)).collect();
    stack(&features)
}

/// f32 [36, 42].
#[track_caller]
fn cells(state: &State, egocentric: bool) -> Float {
    let world = &state.world;
    let board = &world.board;
    let enemies = &world.enemies;
    let player = Place::of(world.player);
    let ordered = |cells: Int| if egocentric { from_player(cells, &player) } else { cells };
    let place = ordered(arange(36).as_u64());
    let flag = |set: Int| ((set.fill(&[36]) >> place) & 1).as_f32();
    let number = |digits: &[Int], shown: Int| {
        let digit = |(i, &set): (usize, &Int)| flag(set & shown) * (1 << i) as f64;
        digits.iter().enumerate().map(digit).reduce(|a, b| a + b).expect("some digits")
    };

    // The first living enemy of each cell, if it can be seen.
    let first = lowest(ordered(enemies.list.by_cell(enemies.list.alive & !enemies.dead())));
    let shown = first & !enemies.hidden(&player, world.show);
    let of = |slots: Int| (shown & slots).ne(0).as_f32();
    let mut values: Vec<Float> = (0..4).map(|kind| of(enemies.list.of_kind(kind))).collect();
    values.push(of(enemies.hp[0]) + of(enemies.hp[1]) * 2.0);
    values.push(of(enemies.stunned));
    values.push(of(enemies.list.from_siphon));

    let open_data = board.data & !board.question;
    let open_program = board.programs() & !board.question;
    values.push(flag(open_data));
    values.push(flag(open_program));
    values.push(flag(board.question));
    values.push(number(&board.value, open_data));
    values.push(flag(board.blocks & board.siphoned));
    let programs = number(&board.value, open_program).as_i32();
    let has_program = flag(open_program).as_i32().as_bool();
    for program in 0..PROGRAMS {
        values.push((programs.eq(program) & has_program).as_f32());
    }
    values.push(number(&board.spawn, open_data | open_program));

    let first = lowest(ordered(world.transmissions.list.by_cell(world.transmissions.list.alive)));
    let turn_digits = world.transmissions.turns.iter().enumerate();
    let turns = turn_digits.map(|(i, &slots)| (first & slots).ne(0).as_f32() * (1 << i) as f64);
    values.push(turns.reduce(|a, b| a + b).expect("some digits"));

    let visible = !board.blocks | board.siphoned;
    values.push(number(&board.credits, visible));
    values.push(number(&board.energy, visible));
    values.push(flag(board.pickups));
    values.push(flag(board.exit));
    values.push(flag(board.centers));

    debug_assert_eq!(values.len(), CELL_FEATURES);
    let features: Vec<Float> =
        layout().cell.iter().zip(values).map(|(feature, value)| scaled(feature, value)).collect();
    stack_at(1, &features)
}
