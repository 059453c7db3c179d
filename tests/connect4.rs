//! Connect four against what is known of it, and the scripted players against each other.

use std::path::{Path, PathBuf};

use lockstep::envs::connect4::golden::{File, open, verify_roots};
use lockstep::envs::connect4::scripted::Scripted;
use lockstep::envs::connect4::{Referee, State};
use lockstep::envs::{Connect4, Env};
use lockstep::lang::{
    Backend, Bool, Float, HostFunction, Int, Key, constant, int, select, select_tree, vmap_last, while_loop,
};
use serde::Deserialize;

use crate::common::client;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("jax_env_spec/connect4").join(name)
}

/// Verifies a file and gives what is told.
fn told(path: &Path, backend: Backend) -> String {
    let mut out = Vec::new();
    open(path, &|| Ok(backend.clone())).unwrap()(1, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_compiled_game_passes_all_golden_records() {
    let backend = Backend::from(client());
    assert_eq!(told(&file("golden.jsonl.gz"), backend.clone()), "3060 passed, 0 failed\n");
    assert_eq!(told(&file("solved.jsonl.gz"), backend), "600 passed, 0 failed\n");
}

#[test]
fn move_sequences_are_counted_through_the_batched_step() {
    let File::Roots(mut roots) = File::read(&file("perft.json")).unwrap() else { panic!("these are roots") };
    roots.retain(|root| (root.rows, root.cols) == (6, 7));
    let mut out = Vec::new();
    let failed = verify_roots(&roots, 6_000_000, &Backend::from(client()), &mut out).unwrap();
    let told = String::from_utf8(out).unwrap();
    assert_eq!(told, "4 numbers above 6000000 were not counted\n47 passed, 0 failed\n");
    assert_eq!(failed, 0);
}

#[test]
fn nothing_is_played_on_that_is_over() {
    let referee = Referee::new(Connect4::default(), 1, &Backend::Oracle).unwrap();
    let game = |moves: &[i32]| referee.play(&[[0.0; 6]], &[moves.to_vec()]);
    assert!(game(&[0, 1, 0, 1, 0, 1, 0]).is_ok());
    let error = game(&[0, 1, 0, 1, 0, 1, 0, 2]).err().unwrap().to_string();
    assert_eq!(error, "move 8 of the game [0, 1, 0, 1, 0, 1, 0, 2] comes after its end");
}

/// Results of many games between two players: rates or means, and their standard errors.
#[derive(Deserialize)]
struct Pair {
    first: String,
    second: String,
    source: String,
    first_wins: [f64; 2],
    draws: [f64; 2],
    second_wins: [f64; 2],
    plies: [f64; 2],
}

#[derive(Deserialize)]
struct Stats {
    pairs: Vec<Pair>,
}

/// A game while it is played.
struct Game {
    state: State,
    running: Bool,
    /// The reward of the first player at the end.
    result: Float,
    plies: Int,
}
lockstep::tree!(Game { state, running, result, plies });

/// Plays games of the numbered players (i32`[N]` each) to their ends: the first player's results and the lengths.
fn games(numbers: [Int; 2], key: Key) -> (Float, Int) {
    let env = Connect4::default();
    let params = env.default_params();
    let size = numbers[0].size();
    let scripted = env.players();
    let start = Game {
        state: State { first: constant(vec![0u64; size]), second: constant(vec![0u64; size]) },
        running: Bool::full([size], true),
        result: Float::full([size], 0.0),
        plies: Int::full([size], 0),
    };
    let (played, _) = while_loop(
        (start, int(0)),
        |(game, _)| game.running.any_all(),
        |(game, ply)| {
            let keys = key.fold_in(ply).split_last(size);
            let game = vmap_last((game, numbers, keys), |(game, numbers, key)| {
                let number = select(game.state.first_to_move(), numbers[0], numbers[1]);
                let obs = env.observe(&params, &game.state).actor.flatten();
                let actions = scripted.iter().map(|player| (player.act)(obs, key.fold_in(0)));
                let action = actions
                    .enumerate()
                    .fold(int(0), |chosen, (i, action)| select(number.eq(i), action, chosen));
                let step = env.step(&params, Key::new(0), game.state, action);
                let now = game.running;
                Game {
                    state: select_tree(now, step.state, game.state),
                    running: now & !step.terminated,
                    result: select(now, step.reward.index(0, 0usize), game.result),
                    plies: game.plies + now.as_i32(),
                }
            });
            (game, ply + 1)
        },
    );
    (played.result, played.plies)
}

#[test]
fn scripted_players_win_as_often_as_is_known() {
    const GAMES: usize = 4000;
    let text = std::fs::read_to_string(file("stats.json")).unwrap();
    let Stats { mut pairs } = serde_json::from_str(&text).unwrap();
    pairs.retain(|pair| pair.source == "bitboard model");
    assert_eq!(pairs.len(), 9);
    let number = |name: &str| Scripted::ALL.iter().position(|player| player.name() == name).unwrap() as i32;
    let of_all = |name: fn(&Pair) -> &String| -> Vec<i32> {
        pairs.iter().flat_map(|pair| vec![number(name(pair)); GAMES]).collect()
    };
    let (first, second) = (of_all(|pair| &pair.first), of_all(|pair| &pair.second));
    let play = HostFunction::new(&Backend::from(client()), "games", &(), |()| {
        games([constant(&first), constant(&second)], Key::new(7))
    });
    let found = play.unwrap().call(&[]).unwrap().into_named();
    let [results, plies] = [0, 1].map(|i| found[i].1.to_f64());
    for (pair, (results, plies)) in pairs.iter().zip(results.chunks(GAMES).zip(plies.chunks(GAMES))) {
        let rate = |of: f64| results.iter().filter(|result| **result == of).count() as f64 / GAMES as f64;
        // Of a rate near 0 the spread is not seen in few games; it follows from what is expected.
        let spread = |[p, _]: [f64; 2]| p * (1.0 - p);
        let mean = plies.iter().sum::<f64>() / GAMES as f64;
        let variance = plies.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / GAMES as f64;
        for (found, known, variance) in [
            (rate(1.0), pair.first_wins, spread(pair.first_wins)),
            (rate(0.0), pair.draws, spread(pair.draws)),
            (rate(-1.0), pair.second_wins, spread(pair.second_wins)),
            (mean, pair.plies, variance),
        ] {
            let [expected, error] = known;
            // One game more or less is no difference.
            let allowed = 4.0 * (variance / GAMES as f64 + error * error).sqrt() + 1.0 / GAMES as f64;
            let (first, second) = (&pair.first, &pair.second);
            println!("{first} {second}: {found} {expected} {:.2}", (found - expected) / (allowed / 4.0));
            assert!((found - expected).abs() < allowed, "{first} {second}: {found}, not {expected}");
        }
    }
}
