//! The traced game against the oracle, step by step, on random walks, and what holds of every step.
//!
//! The two draw their random numbers differently, so the oracle is told what can be read off the traced game's
//! result, and tries the orders in which enemies may have acted ([`explain`]). Everything else must be equal:
//! state, rewards, flags, observation, mask.

use lockstep::envs::hackmatrix::CompiledPlayer;
use lockstep::envs::hackmatrix::host::golden::Player;
use lockstep::envs::hackmatrix::host::rules::{Dice, Rules, Seeded, action_mask, explain, observe};
use lockstep::envs::hackmatrix::host::{Cell, Game, StepResult};

use crate::common::client;

/// Games that walk side by side, and how far.
pub const GAMES: usize = 128;
const STEPS: u64 = 60;
/// Orders of enemies to try before a result counts as impossible, and the crowd that has too many to find one.
const TRIES: u64 = 10_000;
const CROWD: usize = 12;

/// A new game in some stage, with some of all that a player can have.
fn new_game(dice: &mut Seeded) -> Game {
    let mut game = Rules::default().reset(dice);
    if dice.below(4) > 0 {
        game.owned = (0..23).filter(|_| dice.below(2) == 0).collect();
        game.stage = 1 + dice.below(8) as i32;
        game.hp = 1 + dice.below(3) as i32;
        game.data_siphons = dice.below(4) as i32;
        (game.credits, game.energy) = (dice.below(40) as i32, dice.below(40) as i32);
    }
    if dice.below(3) == 0 {
        // Random play seldom finds the exit.
        let neighbours = Cell::all().filter(|cell| cell.distance(game.exit) == 1);
        game.player = neighbours.into_iter().find(|&cell| !game.board.has_block(cell)).unwrap_or(game.player);
    }
    game
}

/// Mostly an action that the mask allows.
pub fn choose(mask: &[bool; 28], dice: &mut Seeded) -> i32 {
    let valid: Vec<usize> = (0..28).filter(|&action| mask[action]).collect();
    let any = valid.is_empty() || dice.below(50) == 0;
    (if any { dice.below(28) } else { valid[dice.below(valid.len())] }) as i32
}

/// How many are on the board or about to be.
fn crowd(game: &Game) -> usize {
    game.enemies.len() + game.transmissions.len()
}

/// What the oracle says against a step of the traced game, one line each.
pub fn objections(before: &Game, action: i32, result: &StepResult) -> Vec<String> {
    let mut found = Vec::new();
    let mut require = |holds: bool, rule: &str| {
        if !holds {
            found.push(rule.to_owned());
        }
    };
    let masked = !action_mask(before)[action as usize];
    require(masked == result.invalid_action, "an action is invalid if and only if it is masked");
    let penalty = if result.invalid_action { 0.0 } else { -0.01 };
    require((result.rewards[0] - penalty).abs() < 1e-6, "a valid step costs 0.01");
    require(observe(&result.state) == result.obs, "the observation is that of the state");
    if result.stage_complete && !result.victory {
        let board = &result.state.board;
        let corners =
            |has: &dyn Fn(Cell) -> bool| Cell::CORNERS.into_iter().filter(|&cell| has(cell)).count();
        require(corners(&|cell| board.exit_cell[cell]) == 1, "a new stage has one exit");
        require(corners(&|cell| board.data_siphon[cell]) == 2, "a new stage has two pickups");
        let enemies = before.enemies.iter().map(|enemy| enemy.at);
        let mut stay = enemies.chain(before.transmissions.iter().map(|transmission| transmission.at));
        require(stay.all(|at| !board.has_block(at)), "a new stage has no block where somebody is");
    }
    if crowd(before) > CROWD {
        return found;
    }
    if let Err(differences) = explain(&Rules::default(), before, action, result, 4, TRIES) {
        found.extend(differences.into_iter().take(10));
    }
    found
}

#[test]
fn the_traced_game_plays_as_the_oracle_allows() {
    let mut player = CompiledPlayer::new(GAMES, &client().into()).unwrap();
    let mut dice = Seeded::new(31);
    let mut games: Vec<Game> = (0..GAMES).map(|_| new_game(&mut dice)).collect();
    let (mut ends, mut stages, mut crowded) = (0, 0, 0);
    for step in 0..STEPS {
        let views = player.observe(&games).unwrap();
        for (game, (obs, mask)) in games.iter().zip(&views) {
            assert_eq!((obs, mask), (&observe(game), &action_mask(game)), "step {step}: {game:#?}");
        }
        if step % 20 == 10 {
            check_every_action(&mut player, &games);
        }
        let actions: Vec<i32> = views.iter().map(|(_, mask)| choose(mask, &mut dice)).collect();
        let results = player.step(&games, &actions, step).unwrap();
        for ((game, &action), result) in games.iter_mut().zip(&actions).zip(results) {
            let found = objections(game, action, &result);
            assert!(found.is_empty(), "step {step}, action {action}:\n{}\nin {game:?}", found.join("\n"));
            stages += usize::from(result.stage_complete);
            ends += usize::from(result.done);
            crowded += usize::from(crowd(game) > CROWD);
            *game = if result.done { new_game(&mut dice) } else { result.state };
        }
    }
    let all = STEPS as usize * GAMES;
    println!("{all} steps, {ends} ends, {stages} stages, {crowded} in too large a crowd");
    assert!(ends > 100 && stages > 50 && crowded < all / 20);
}

/// Requires that a step calls an action invalid exactly if the oracle's mask forbids it, for all 28 actions.
fn check_every_action(player: &mut CompiledPlayer, games: &[Game]) {
    for action in 0..28 {
        let results = player.step(games, &vec![action; games.len()], 0).unwrap();
        for (game, result) in games.iter().zip(results) {
            let allowed = action_mask(game)[action as usize];
            assert_eq!(allowed, !result.invalid_action, "action {action} in {game:?}");
        }
    }
}
