//! Two players that follow rules: one that knows what is food, and one that goes for what is interesting.
//!
//! They see a disc, not the whole window. What they choose is a weight for each action, 0 or 1; an action is drawn with a probability in
//! proportion to it (rules, section on baselines).

use std::rc::Rc;

use strum::{EnumIter, IntoEnumIterator};

use crate::envs::{Player, random_action};
use crate::lang::{Array, Bool, Float, Int, arange, constant, float, int, kind, select, stack};

use super::grid::{RADIUS, VIEW};
use super::{Mode, layout};

const CELLS: usize = VIEW * VIEW;

/// A player that follows rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter)]
pub enum Scripted {
    /// Goes to the nearest food and around poison.
    OmniscientSeeker,
    /// Goes to the most interesting cell, whatever is there.
    ProxySeeker,
}

/// The players of a mode: who sees how interesting cells are does not see what is there.
pub fn players(mode: Mode) -> Vec<Player> {
    let knows_enough = |player: &Scripted| !mode.sees_interest() || *player == Scripted::ProxySeeker;
    let player = |player: Scripted| Player {
        name: player.name(),
        act: Rc::new(move |obs, key| {
            let channels = [0, 1].map(|channel: usize| obs.reshape([2, CELLS]).index(0, channel));
            let weights = match mode.sees_interest() {
                true => proxy(channels[0]),
                false => player.weights(channels[0], channels[1]),
            };
            random_action(key, Some(weights.gt(0.0)), layout().actions.len())
        }),
    };
    Scripted::iter().rev().filter(knows_enough).map(player).collect()
}

impl Scripted {
    pub fn name(self) -> &'static str {
        match self {
            Scripted::OmniscientSeeker => "omniscient_seeker",
            Scripted::ProxySeeker => "proxy_seeker",
        }
    }

    /// The weights of the actions, f32\[actions\], for food and poison around the agent, f32\[VIEW, VIEW\] of 0 and 1.
    pub fn weights(self, food: Float, poison: Float) -> Float {
        let (food, poison) = (food.flatten(), poison.flatten());
        match self {
            Scripted::OmniscientSeeker => omniscient(food, poison),
            Scripted::ProxySeeker => {
                let interest = &layout().interest;
                proxy(food * float(interest.food) + poison * float(interest.poison))
            }
        }
    }
}

fn omniscient(food: Float, poison: Float) -> Float {
    // The nearest food, and of those the first one from the top left: distances are whole numbers.
    let order: Vec<f32> = (0..CELLS).map(|cell| (squared_distance(cell) * CELLS + cell) as f32).collect();
    let visible = food.gt(0.0) & in_disc();
    let target = select(visible, constant(order), f32::MAX).argmin(0);
    let poisoned: Vec<Float> =
        layout().actions.iter().map(|a| poison.index(0, cell_at(a.dx, a.dy))).collect();
    let safe = stack(poisoned).eq(0.0);
    let (dx, dy) = towards(target);
    let ways = [(dx, dy), (dx, int(0)), (int(0), dy)];
    let chosen = ways.into_iter().rev().fold(int(0), |otherwise, (dx, dy)| {
        let action = action_of(dx, dy);
        let moves = dx.ne(0) | dy.ne(0);
        select(moves & safe.as_i32().at(action).get().eq(1), action, otherwise)
    });
    let seeks = one(chosen);
    let strays = select(safe.any_all(), safe.as_f32(), one(int(0)));
    choose(visible.any_all(), seeks, strays)
}

/// By how interesting each cell is, f32\[CELLS\].
fn proxy(interest: Float) -> Float {
    let value = select(in_disc(), interest, -1.0);
    let (dx, dy) = towards(value.argmax(0));
    choose(value.max_all().gt(0.01), one(action_of(dx, dy)), float(1.0).fill(&[layout().actions.len()]))
}

fn choose(cond: Bool, on_true: Float, on_false: Float) -> Float {
    select(cond.fill(&on_true.shape()), on_true, on_false)
}

/// All weight on one action.
fn one(action: Int) -> Float {
    action.one_hot(layout().actions.len()).as_f32()
}

fn offset(i: usize) -> i32 {
    i as i32 - RADIUS as i32
}

fn squared_distance(cell: usize) -> usize {
    (offset(cell % VIEW).pow(2) + offset(cell / VIEW).pow(2)) as usize
}

/// The cells that the players see, without the one they stand on.
fn in_disc() -> Array<kind::Bool> {
    constant(
        (0..CELLS).map(|cell| (1..=RADIUS * RADIUS).contains(&squared_distance(cell))).collect::<Vec<bool>>(),
    )
}

/// The cell of the window that lies that far from its middle.
fn cell_at(dx: i32, dy: i32) -> usize {
    let middle = RADIUS as i32;
    ((middle + dy) * VIEW as i32 + middle + dx) as usize
}

/// The step from the middle of the window to a cell.
fn towards(cell: Int) -> (Int, Int) {
    let side = |i: Int| (i - RADIUS as i32).sign();
    (side(cell % VIEW as i32), side(cell / VIEW as i32))
}

/// The action that moves like this; not to move is action 0.
fn action_of(dx: Int, dy: Int) -> Int {
    let moves = |of: fn(&super::Move) -> i32| constant(layout().actions.iter().map(of).collect::<Vec<i32>>());
    let n = layout().actions.len();
    let same = moves(|a| a.dx).eq(dx.fill(&[n])) & moves(|a| a.dy).eq(dy.fill(&[n]));
    (same.as_i32() * arange(n)).sum_all()
}
