//! States that the protocol accepts, in the compiled game: each survives being set, observed, played and read back.

use lockstep::envs::hackmatrix::host::Game;
use lockstep::envs::hackmatrix::host::golden::Player;
use lockstep::envs::hackmatrix::host::layout::PROGRAMS;
use lockstep::envs::hackmatrix::host::protocol::{OracleTable, Session};
use lockstep::envs::hackmatrix::host::rules::{Dice, Rules, Seeded, action_mask, observe};
use lockstep::envs::hackmatrix::{CompiledPlayer, Converter};
use serde_json::{Value, json};

use super::differential::{GAMES, choose, objections};
use crate::common::client;

/// States that are given, most of which are accepted.
const STATES: usize = 600;
/// Steps that are played of each.
const STEPS: u64 = 4;

/// A number from 0 to `most`, often one of the ends, seldom beyond them.
fn number(most: i64, dice: &mut Seeded) -> i64 {
    match dice.below(600) {
        0 => most + 1,
        1 => [-1, i64::MIN, i64::MAX, 1 << 32][dice.below(4)],
        2..120 => most,
        120..240 => 0,
        _ => dice.below(most as usize + 1) as i64,
    }
}

fn flag(dice: &mut Seeded) -> bool {
    dice.below(2) == 0
}

/// A list whose length is mostly small.
fn list(most: usize, dice: &mut Seeded, entry: impl Fn(&mut Seeded) -> Value) -> Value {
    let length = if dice.below(20) == 0 { most } else { 4.min(most) };
    (0..dice.below(length + 1)).map(|_| entry(dice)).collect()
}

fn at(dice: &mut Seeded) -> (usize, usize) {
    (dice.below(6), dice.below(6))
}

fn kind(dice: &mut Seeded) -> &'static str {
    ["virus", "daemon", "glitch", "cryptog"][dice.below(4)]
}

/// A state over all that the protocol can say.
fn state(dice: &mut Seeded) -> Value {
    let amount = |dice: &mut Seeded| number([9, 40, 1_000_000][dice.below(3)], dice);
    let (row, col) = at(dice);
    json!({
        "player": {
            "row": row, "col": col, "hp": number(3, dice), "credits": amount(dice), "energy": amount(dice),
            "dataSiphons": amount(dice), "attackDamage": 1 + amount(dice).clamp(0, 9), "score": amount(dice),
        },
        "enemies": list(66, dice, |dice| {
            let ((row, col), kind) = (at(dice), kind(dice));
            let most = if kind == "daemon" { 3 } else { 2 };
            json!({
                "row": row, "col": col, "type": kind, "hp": 1 + number(most - 1, dice), "stunned": flag(dice),
                "spawnedFromSiphon": flag(dice), "isFromScheduledTask": flag(dice),
            })
        }),
        "transmissions": list(66, dice, |dice| {
            let (row, col) = at(dice);
            // Beyond 255 DELAY stops counting.
            let turns = if flag(dice) { 1 + number(2, dice) } else { 1 + number(200, dice) };
            json!({ "row": row, "col": col, "turnsRemaining": turns, "enemyType": kind(dice) })
        }),
        "blocks": list(36, dice, |dice| {
            let (row, col) = at(dice);
            let kind = if flag(dice) { "data" } else { "program" };
            json!({
                "row": row, "col": col, "type": kind, "points": number(31, dice), "spawnCount": number(15, dice),
                "siphoned": flag(dice), "programActionIndex": 5 + dice.below(PROGRAMS),
            })
        }),
        "resources": list(36, dice, |dice| {
            let (row, col) = at(dice);
            let (credits, energy) = (number(3, dice), number(3, dice));
            json!({ "row": row, "col": col, "credits": credits, "energy": energy, "dataSiphon": dice.below(4) == 0 })
        }),
        "ownedPrograms": (0..PROGRAMS).filter(|_| flag(dice)).map(|program| 5 + program).collect::<Vec<_>>(),
        "stage": 1 + number(7, dice),
        "turn": amount(dice),
        "showActivated": flag(dice),
        "scheduledTasksDisabled": flag(dice),
    })
}

/// The games of the states that are accepted. Whatever is refused is refused by the name of a field.
fn accepted(dice: &mut Seeded) -> Vec<Game> {
    let mut table = OracleTable::new(Rules::default(), 1);
    let mut games = Vec::new();
    for _ in 0..STATES {
        let mut session = Session::new(&mut table);
        let command = json!({ "action": "setState", "state": state(dice) }).to_string();
        let reply: Value = serde_json::from_str(&session.reply(command.as_bytes())).unwrap();
        match reply["error"].as_str() {
            None => games.push(session.game().unwrap().clone()),
            Some(error) => assert!(
                error.starts_with("setState: ")
                    && (error.contains("must be from") || error.contains("room for")),
                "{error}\n{command}"
            ),
        }
    }
    games
}

/// A game as the arrays keep it: without the order of the programs and without hints, which no rule reads.
fn kept(game: &Game) -> Game {
    let mut game = game.clone();
    game.owned.sort();
    game.enemies.iter_mut().for_each(|enemy| enemy.hint = None);
    game
}

#[test]
fn every_state_that_is_accepted_can_be_played() {
    let mut dice = Seeded::new(97);
    let mut games = accepted(&mut dice);
    println!("{} of {STATES} states are accepted", games.len());
    assert!(games.len() > STATES / 4 && games.len() < STATES);
    assert!(games.iter().any(|game| game.enemies.len() > 40));

    let converter = Converter::new();
    let arrays = converter.to_arrays(&games).unwrap();
    for (before, after) in games.iter().zip(converter.from_arrays(converter.named(arrays))) {
        assert_eq!(kept(before), after);
    }
    let mut player = CompiledPlayer::new(GAMES, &client().into()).unwrap();
    for step in 0..STEPS {
        games.retain(|game| game.hp > 0); // one that is over is not played on
        let views = player.observe(&games).unwrap();
        for (game, (obs, mask)) in games.iter().zip(&views) {
            assert_eq!((obs, mask), (&observe(game), &action_mask(game)), "{game:?}");
        }
        let actions: Vec<i32> = views.iter().map(|(_, mask)| choose(mask, &mut dice)).collect();
        let results = player.step(&games, &actions, step).unwrap();
        for ((game, &action), result) in games.iter_mut().zip(&actions).zip(results) {
            let found = objections(game, action, &result);
            assert!(found.is_empty(), "step {step}, action {action}:\n{}\nin {game:?}", found.join("\n"));
            *game = result.state;
        }
    }
}
