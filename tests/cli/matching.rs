//! Players of a game for two against each other: `match`.

use std::fs;

use lockstep::envs::builtin;
use serde_json::Value;
use tempfile::TempDir;

use super::{run, trained_file};

fn json(line: &str) -> Value {
    let args: Vec<&str> = line.split(' ').chain(["--json"]).collect();
    let text = run(&args).stdout();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// Rates of 200,000 games of an independent program, whose standard error is 0.001.
#[test]
fn scripted_players_win_as_often_as_they_should() {
    const GAMES: f64 = 1000.0;
    let rates = [("heuristic", "random", 0.961), ("smart_heuristic", "heuristic", 0.874)];
    for (player, other, expected) in rates {
        let found = json(&format!("match {player} {other} --env connect4 --games {GAMES} --seed 3"));
        let counts = ["wins", "draws", "losses", "games", "cut_off"].map(|key| number(&found, key));
        assert_eq!((counts[..3].iter().sum::<f64>(), counts[3], counts[4]), (GAMES, GAMES, 0.0), "{found}");
        let rate = number(&found, "win_rate");
        assert_eq!(rate, counts[0] / GAMES);
        let error = (expected * (1.0 - expected) / GAMES).sqrt() + 0.001;
        assert!((rate - expected).abs() < 4.0 * error, "{player} against {other}: {rate}, not {expected}");
        let [low, high] = [0, 1].map(|end: usize| found["win_rate_interval"][end].as_f64().unwrap());
        assert!(low < rate && rate < high && high - low < 0.06, "{found}");
        // A fair coin decides who begins, and whoever begins wins more often.
        let [begun, answered] = ["begun", "answered"].map(|side| &found[side]);
        let begins = number(begun, "games");
        assert!((begins - GAMES / 2.0).abs() < 4.0 * (GAMES / 4.0).sqrt(), "{found}");
        assert_eq!(begins + number(answered, "games"), GAMES);
        assert!(number(begun, "win_rate") > number(answered, "win_rate"), "{found}");
    }
}

#[test]
fn the_same_seed_plays_the_same_games() {
    let play = |line: &str| {
        let mut found = json(&format!("match heuristic random --env connect4 --games 300 {line}"));
        found.as_object_mut().unwrap().remove("seconds");
        found
    };
    let first = play("--seed 1");
    assert_eq!(first, play("--seed 1"));
    let other = play("--seed 2");
    assert_ne!(first["begun"], other["begun"]);
    let opened = play("--seed 1 --random-opening 12");
    assert!(number(&opened, "wins") < number(&first, "wins"), "{opened} after twelve random moves, {first}");
}

#[test]
fn a_round_robin_rates_everybody() {
    let line = "match random heuristic smart_heuristic --round-robin --games 200";
    let found = json(line);
    let elo = |name: &str| {
        let row = found["ratings"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
        let [low, high] = [0, 1].map(|end: usize| row["elo_interval"][end].as_f64().unwrap());
        assert!(low < number(row, "elo") && number(row, "elo") < high, "{row}");
        assert_eq!(number(row, "games"), 400.0);
        number(row, "elo")
    };
    let [random, heuristic, smart] = ["random", "heuristic", "smart_heuristic"].map(elo);
    assert!(random + 300.0 < heuristic && heuristic + 150.0 < smart, "{found}");
    assert!((random + heuristic + smart).abs() < 1e-6, "{found}");
    assert_eq!(found["matches"].as_array().unwrap().len(), 3);
    let text = run(&line.split(' ').collect::<Vec<_>>()).stdout();
    let place =
        |name: &str| text.find(&format!("\n{name} ")).unwrap_or_else(|| panic!("no {name} in\n{text}"));
    assert!(place("smart_heuristic") < place("heuristic") && place("heuristic") < place("random"), "{text}");
    assert!(
        text.starts_with("connect4, 200 games of each pair from seed 0\n") && text.contains("±"),
        "{text}"
    );
}

/// What was trained plays against every scripted player of every game for two, from both sides.
#[test]
fn trained_players_of_every_game_for_two() {
    for entry in builtin().iter().filter(|entry| entry.spec().players == 2) {
        let folder = TempDir::new().unwrap();
        let runs = folder.path().to_str().unwrap();
        let flags = "--num-envs 8 --num-steps 8 --hidden-dim 8 --total-timesteps 64 --device cpu --no-wandb \
                     --algo ppo --run-name all";
        let train = ["train", "--env", entry.name, "--checkpoint-dir", runs];
        run(&[&train[..], &flags.split_whitespace().collect::<Vec<_>>()].concat()).stdout();
        let file = folder.path().join("all/final_params.safetensors");
        let file = file.to_str().unwrap();
        let scripted = entry.build().players();
        for other in scripted.iter().map(|player| player.name) {
            let [own, turned] = [format!("{file} {other}"), format!("{other} all --checkpoint-dir {runs}")]
                .map(|players| json(&format!("match {players} --games 40 --random-opening 2")));
            assert_eq!((&own["env"], &own["games"]), (&entry.name.into(), &40.into()));
            assert_eq!(own["players"], serde_json::json!([file, other]));
            assert_eq!(turned["players"][0], other);
        }
        if entry.positions.is_some() {
            let solved =
                format!("{}/jax_env_spec/{}/solved.jsonl.gz", env!("CARGO_MANIFEST_DIR"), entry.name);
            let marks = json(&format!("eval {file} --positions {solved}"));
            let shares = ["keeps_class", "best"].map(|key| number(&marks, key));
            assert!(shares.into_iter().all(|share| share > 0.0 && share < 1.0), "{marks}");
        }
        // A Q-network plays against an actor-critic of the same game.
        let flags = flags.replace(
            "--algo ppo --run-name all",
            "--algo dqn --run-name values --batch-size 8 --replay-size 64 --learning-starts 8",
        );
        run(&[&train[..], &flags.split_whitespace().collect::<Vec<_>>()].concat()).stdout();
        let values = folder.path().join("values/final_params.safetensors");
        let values = values.to_str().unwrap();
        let [own, turned] = [[values, file], [file, values]]
            .map(|[a, b]| json(&format!("match {a} {b} --games 40 --random-opening 2 --seed 5")));
        assert_eq!(own["players"], serde_json::json!([values, file]));
        assert_eq!(["wins", "draws", "losses"].map(|key| number(&own, key)).iter().sum::<f64>(), 40.0);
        assert_eq!(number(&turned, "games"), 40.0);
        let twins = run(&["match", file, file, "--games", "4"]);
        assert!(
            twins.stderr.contains("nothing that") && twins.stderr.contains("left to chance"),
            "{}",
            twins.stderr
        );
        let table = twins.stdout();
        assert!(table.starts_with(&format!("{}, 4 games from seed 0\n", entry.name)), "{table}");
        assert_eq!(table.lines().count(), 6, "{table}");

        let wrong = run(&["match", file, &trained_file("final_params.safetensors")]);
        wrong.fails_in_one_line(2, &[" plays cartpole; a match is played in one environment"]);
        let text = fs::read(file).unwrap();
        let cut = folder.path().join("cut.safetensors");
        fs::write(&cut, &text[..text.len() / 2]).unwrap();
        run(&["match", cut.to_str().unwrap(), "random"]).fails_in_one_line(1, &["cut.safetensors"]);
    }
}
