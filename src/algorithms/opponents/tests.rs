//! Toy agents whose parameter is their name: what they do says who it was.

use super::*;
use crate::algorithms::policy::Decision;
use crate::algorithms::self_play::Met;
use crate::interpret::interpret;
use crate::lang::{Features, int_u64, stack, trace};

/// Does 100 times its parameter, and the number of the game; remembers how often it has moved in the game.
struct Toy;

fn named(params: &Leaves) -> Float {
    Float::from_handle(params.0[0].1)
}

fn leaves(name: &str, value: crate::lang::Handle) -> Leaves {
    Leaves(vec![(name.to_owned(), value)])
}

impl Actor for Toy {
    fn params(&self) -> Leaves {
        leaves("name", float(0.0).handle())
    }
    fn begin(&self, rows: usize) -> Leaves {
        leaves("moved", Int::full([rows], 0).handle())
    }
    fn act(&self, params: &Leaves, carry: Leaves, view: &View, _: Key, _: Choice) -> (Leaves, Decision) {
        let moved = Int::from_handle(carry.0[0].1);
        let game = view.obs.numbers().squeeze(1);
        let action = (named(params) * 100.0 + game).as_i32();
        (
            leaves("moved", (moved + 1).handle()),
            Decision { action, probs: game.expand_dims(1), value: None, action_values: None },
        )
    }
}

/// Two scripted players that do 1000 and 2000, the agent, and three frozen agents, by these settings.
fn lineup(settings: Settings) -> Lineup {
    let scripted = |name, action: i32| Player { name, act: Rc::new(move |_, _| int(action)) };
    Lineup {
        settings,
        players: vec![scripted("low", 1000), scripted("high", 2000)],
        first_odds: vec![0.25, 0.75, 0.0],
        slots: 3,
        packing: None,
        actor: Rc::new(Toy),
        choice: Choice::Greedy,
    }
}

fn u64s(values: &[u64]) -> Int {
    stack(values.iter().map(|&value| int_u64(value)).collect::<Vec<_>>())
}

fn nobody() -> Left {
    let zero = int_u64(0);
    Left { since: zero, wins: zero, draws: zero, losses: zero }
}

/// A standing with these results; agents 1, 2 and 3 were frozen after so many steps.
fn standing(
    episodes: u64,
    [wins, draws, losses]: [&[u64]; 3],
    since: [u64; 3],
    last_met: [u64; 3],
) -> Standing {
    let names: Float = constant([1.0f32, 2.0, 3.0]);
    let (since, last_met) = (u64s(&since), u64s(&last_met));
    Standing {
        steps: int_u64(0),
        episodes: int_u64(episodes),
        results: Results { wins: u64s(wins), draws: u64s(draws), losses: u64s(losses) },
        frozen: Some(Frozen { params: leaves("name", names.handle()), since, last_met, left: nobody() }),
    }
}

const NOTHING: [&[u64]; 3] = [&[0; 6]; 3];

/// What a traced function gives.
fn found<T: crate::lang::Tree>(body: impl Fn() -> T) -> Vec<Vec<f64>> {
    let traced = trace(&(), |()| body());
    interpret(&traced.graph, &[]).iter().map(|array| array.to_f64()).collect()
}

#[test]
fn each_game_has_the_moves_of_its_own_opponent() {
    // Games spread over all, all against one frozen agent or the agent as it is, none against any; games where nobody is asked.
    for numbers in [
        [0, 1, 2, 3, 4, 5, 3],
        [4; 7],
        [2; 7],
        [2, 1, 0, 2, 1, 0, 2],
        [5, 5, -1, 5, 5, 3, 2],
        [-1, -1, 2, 0, 3, -1, -1],
    ] {
        let played = found(|| {
            let lineup = lineup(Settings::default());
            let standing = standing(0, NOTHING, [1, 2, 3], [0; 3]);
            let agent = leaves("name", float(9.0).handle());
            let playing =
                Playing { lineup: &lineup, standing: &standing, agent, odds: lineup.odds(&standing) };
            let games = arange(7);
            let obs = Features::Plain(games.as_f32().expand_dims(1));
            let view = View { obs, mask: None, privileged: None, to_move: None };
            let carry = leaves("moved", (games * 10).handle());
            let starts = games.eq(6);
            playing.choose(constant(numbers), carry, &view, starts, Key::new(0).split_last(7))
        });
        for (game, number) in numbers.into_iter().enumerate().filter(|(_, number)| *number >= 0) {
            let name = [10, 20, 9, 1, 2, 3][number as usize];
            let expected = name * 100 + if number < 2 { 0 } else { game as i32 };
            assert_eq!(played[1][game], f64::from(expected), "game {game} of {numbers:?}");
            let before = if game == 6 { 0 } else { 10 * game };
            let moved = before + usize::from(number >= 2);
            assert_eq!(played[0][game], moved as f64, "game {game} of {numbers:?}");
        }
    }
}

#[test]
fn the_odds_are_those_of_the_specification() {
    let odds = |episodes, results, since| {
        let settings = Settings {
            start_episode: 50,
            current_self_fraction: 0.2,
            past_self_fraction: 0.5,
            ..Settings::default()
        };
        found(|| lineup(settings.clone()).odds(&standing(episodes, results, since, [0; 3])))[0].clone()
    };
    let near = |found: Vec<f64>, expected: [f64; 6]| {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}, not {expected:?}");
    };
    near(odds(49, NOTHING, [1, 2, 3]), [0.25, 0.75, 0.0, 0.0, 0.0, 0.0]);
    near(odds(50, NOTHING, [0; 3]), [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
    let third = 0.5 / 3.0;
    near(odds(50, NOTHING, [1, 2, 3]), [0.075, 0.225, 0.2, third, third, third]);
    // The first one has won 80 of 160 games, the second one none of 200; of the third one 100 games say nothing.
    let results: [&[u64]; 3] = [&[0, 0, 0, 60, 150, 0], &[0, 0, 0, 20, 50, 0], &[0, 0, 0, 80, 0, 100]];
    let weights = [0.25, 0.0001, 0.25];
    let past = weights.map(|weight| 0.5 * weight / 0.5001);
    near(odds(50, results, [1, 2, 3]), [0.075, 0.225, 0.2, past[0], past[1], past[2]]);
    near(odds(50, results, [1, 0, 0]), [0.075, 0.225, 0.2, 0.5, 0.0, 0.0]);
}

#[test]
fn opponents_are_drawn_by_the_odds() {
    const GAMES: usize = 20_000;
    let drawn = found(|| {
        let lineup = lineup(Settings::default());
        let standing = standing(0, NOTHING, [1, 0, 3], [0; 3]);
        let odds = constant([0.1f32, 0.0, 0.3, 0.2, 0.0, 0.0]); // only in proportion
        let playing = Playing { lineup: &lineup, standing: &standing, agent: Leaves::default(), odds };
        playing.draw(Key::new(4).split_last(GAMES))
    });
    for (number, expected) in [1.0 / 6.0, 0.0, 0.5, 1.0 / 3.0, 0.0, 0.0].into_iter().enumerate() {
        let share = drawn[0].iter().filter(|&&drawn| drawn == number as f64).count() as f64 / GAMES as f64;
        assert!((share - expected).abs() <= if expected > 0.0 { 0.02 } else { 0.0 }, "{number}: {share}");
    }
}

#[test]
fn the_agent_takes_the_place_of_whom_it_met_least_recently() {
    let all = found(|| {
        let lineup = lineup(Settings { freeze_every: 100, ..Settings::default() });
        let begun = Standing { steps: int_u64(90), ..standing(7, [&[5; 6]; 3], [10, 20, 30], [3, 1, 2]) };
        // A win against each of these and a loss against the agent itself.
        let met = Met::nobody(6).with(
            constant([0, 4, 2, 3]),
            constant([1, 1, 1, 0]).ne(0),
            constant([1.0f32, 2.0, -1.0, 1.0]),
        );
        let agent = leaves("name", float(9.0).handle());
        let playing = constant([0, 3, 4, 5, 5]);
        let not_due = lineup.after(begun.clone(), &met, 1, 5, &agent, playing);
        let due = lineup.after(begun, &met, 1, 10, &agent, playing);
        (not_due, due)
    });
    let left = ["left", "left_wins", "left_draws", "left_losses"];
    let names = [
        &["steps", "episodes", "wins", "draws", "losses", "names", "since", "last_met"][..],
        &left,
        &["playing"],
    ]
    .concat();
    let value = |which: usize, name: &str| {
        all[which * names.len() + names.iter().position(|known| *known == name).unwrap()].clone()
    };
    assert_eq!(value(0, "wins"), [6.0, 5.0, 5.0, 5.0, 6.0, 5.0]);
    assert_eq!(value(0, "losses"), [5.0, 5.0, 6.0, 5.0, 5.0, 5.0]);
    assert_eq!((value(0, "steps"), value(0, "episodes")), (vec![95.0], vec![10.0]));
    assert_eq!((value(0, "names"), value(0, "last_met")), (vec![1.0, 2.0, 3.0], vec![3.0, 10.0, 2.0]));
    assert_eq!(value(0, "playing"), [0.0, 3.0, 4.0, 5.0, 5.0]);
    // The second one was met just now, so the third one goes.
    assert_eq!((value(1, "names"), value(1, "since")), (vec![1.0, 2.0, 9.0], vec![10.0, 20.0, 100.0]));
    assert_eq!(value(1, "last_met"), [3.0, 10.0, 10.0]);
    assert_eq!(value(1, "draws"), [5.0, 5.0, 5.0, 5.0, 5.0, 0.0]);
    assert_eq!(value(1, "playing"), [0.0, 3.0, 4.0, 2.0, 2.0]);
    assert_eq!(left.map(|name| value(0, name)[0]), [0.0; 4]);
    assert_eq!(left.map(|name| value(1, name)[0]), [30.0, 5.0, 5.0, 5.0]);
}
