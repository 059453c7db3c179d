//! Games that are played over HTTP: by the page of `lockstep ui`, and by other programs step by step.

use std::io::Read;

use flate2::read::GzDecoder;
use lockstep::envs::builtin;
use serde_json::{Value, json};

use super::ui::Server;

const PLAY: &str = "/api/v1/play";
const SESSION: &str = "/api/play/session";

/// A server and the token of its pages.
struct Played {
    server: Server,
    token: String,
}

impl Played {
    fn new() -> Played {
        let server = Server::of_trained();
        Played { token: server.token(), server }
    }

    /// What a request that does something is answered with.
    #[track_caller]
    fn does(&self, method: &str, path: &str, sent: &Value) -> Value {
        let reply = self.server.send(method, path, &self.token, &sent.to_string());
        assert_eq!(reply.status, 200, "{path} {sent}: {}", reply.body);
        serde_json::from_str(&reply.body).unwrap()
    }

    #[track_caller]
    fn refuses(&self, path: &str, sent: &str, status: u16, part: &str) {
        self.server.send("POST", path, &self.token, sent).refuses(status, part);
    }

    /// Opens a game and waits until it is prepared: its address, what it is about, and its position.
    #[track_caller]
    fn open(&self, wanted: &Value) -> (String, Value, Value) {
        let id = self.does("POST", PLAY, wanted)["id"].as_str().unwrap().to_owned();
        let game = format!("{PLAY}/{id}");
        loop {
            let mut told = self.server.json(&game);
            if told["ready"] == true {
                return (game, told["about"].take(), told["position"].take());
            }
        }
    }

    #[track_caller]
    fn moves(&self, game: &str, sent: &Value) -> Value {
        self.does("POST", &format!("{game}/move"), sent)["position"].take()
    }
}

fn count(list: &Value) -> usize {
    list.as_array().unwrap().len()
}

#[test]
fn every_environment_is_played_by_a_person() {
    let played = Played::new();
    let offered = played.server.json(PLAY);
    assert_eq!(offered["runs"], json!([{ "id": "small", "env": "cartpole", "algo": "ppo" }]));
    for entry in builtin().into_iter().filter(|entry| entry.spec().players <= 2) {
        let name = entry.name;
        let known = offered["environments"].as_array().unwrap().iter().find(|env| env["name"] == name);
        assert!(known.unwrap()["opponents"].as_array().unwrap().contains(&"random".into()), "{name}");
        let wanted = json!({ "env": name, "player": "random", "seed": 5 });
        let (game, about, first) = played.open(&wanted);
        assert_eq!((&about["env"], count(&about["actions"])), (&name.into(), entry.spec().num_actions));
        assert_eq!(count(&first["legal"]), entry.spec().num_actions, "{name}");
        assert!(count(&first["drawing"]["board"]) > 0 && first["yours"] == true, "{name}: {first}");
        let chances = first["thinks"]["probabilities"].as_array().unwrap();
        let sum: f64 = chances.iter().map(|chance| chance.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-3, "{name}: {sum}");
        let action = first["legal"].as_array().unwrap().iter().position(|legal| *legal == true).unwrap();
        let after = played.moves(&game, &json!({ "action": action }));
        assert_eq!(after["happened"][0]["action"], action, "{name}");
        // The same seed and the same move are the same game.
        let again = played.does("POST", &format!("{game}/undo"), &json!({}))["position"].take();
        let same = |position: &Value| [position["drawing"].clone(), position["legal"].clone()];
        assert_eq!(same(&again), same(&first), "{name}");
        assert_eq!(same(&played.moves(&game, &json!({ "action": action }))), same(&after), "{name}");
        let mut position = played.does("POST", &format!("{game}/new"), &json!({}))["position"].take();
        for _ in 0..3 {
            if position["over"] == false {
                position = played.moves(&game, &json!({}));
            }
        }
        assert!(position["over"] == false || position["result"].is_string(), "{name}: {position}");
        played.does("DELETE", &game, &json!({}));
        played.server.get(&game).refuses(404, "no game");
    }
}

#[test]
fn a_person_plays_an_agent_that_was_trained_and_two_play_in_turn() {
    let played = Played::new();
    assert_eq!(played.server.json("/api/v1/runs/small")["players"], 1);
    let (_, about, position) = played.open(&json!({ "run": "small" }));
    assert_eq!((&about["env"], &about["agent"]), (&"cartpole".into(), &"small".into()));
    assert!(position["thinks"]["value"].is_number() && position["drawing"]["scene"]["shapes"].is_array());

    let (game, about, mut position) = played.open(&json!({ "env": "connect4", "second": true }));
    assert_eq!((&about["agent"], &about["players"]), (&"smart_heuristic".into(), &2.into()));
    assert_eq!((&position["steps"], &position["happened"][0]["player"]), (&1.into(), &0.into()));
    for moves in 2.. {
        if position["over"] == true {
            break;
        }
        let legal = position["legal"].as_array().unwrap();
        let column = legal.iter().rposition(|legal| *legal == true).unwrap();
        position = played.moves(&game, &json!({ "action": column }));
        assert!(position["steps"].as_u64().unwrap() >= moves, "{position}");
    }
    let paid: Vec<f64> = position["paid"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    assert_eq!(paid[0], -paid[1]);
    let result = position["result"].as_str().unwrap();
    assert_eq!(
        result,
        if paid[0] > 0.0 {
            "smart_heuristic wins"
        } else if paid[0] < 0.0 {
            "you win"
        } else {
            "a draw"
        }
    );
    played.refuses(&format!("{game}/move"), "{}", 409, "the game is over");
    let other = played.does("POST", &format!("{game}/new"), &json!({ "second": false }));
    assert_eq!((&other["position"]["steps"], &other["position"]["person"]), (&0.into(), &0.into()));
}

#[test]
fn what_cannot_be_played_is_refused() {
    let played = Played::new();
    for (sent, status, part) in [
        ("{", 422, "cannot be understood"),
        ("[]", 422, "cannot be understood"),
        (r#"{"game": 1}"#, 422, "unknown field"),
        ("{}", 422, "name a run, or an environment"),
        (r#"{"run": "small", "env": "cartpole"}"#, 422, "name a run, or an environment"),
        (r#"{"run": "../small"}"#, 404, "no run"),
        (r#"{"env": "connect5"}"#, 422, "connect4"),
        (r#"{"env": "native:./game.so"}"#, 422, "a library is no environment of the page"),
        (r#"{"env": "connect4", "player": "small"}"#, 422, "it has heuristic, smart_heuristic, random"),
        (r#"{"env": "connect4", "player": "a\nb\u001b"}"#, 422, "has no player"),
        (r#"{"env": "connect4", "seed": -1}"#, 422, "invalid value"),
    ] {
        played.refuses(PLAY, sent, status, part);
    }
    let large = format!(r#"{{"env": "{}"}}"#, "x".repeat(70_000));
    played.refuses(PLAY, &large, 413, "65536 bytes");
    let chunked = format!("{}Transfer-Encoding: chunked\r\n", played.token);
    let chunk = format!("11170\r\n{}\r\n0\r\n\r\n", "x".repeat(70_000));
    played.server.ask("POST", PLAY, &format!("{chunked}\r\n{chunk}")).refuses(413, "65536 bytes");
    played.server.send("POST", PLAY, "", r#"{"env": "connect4"}"#).refuses(403, "token");
    let foreign = format!("{}Origin: http://evil.example\r\n", played.token);
    played.server.send("POST", SESSION, &foreign, "{}").refuses(403, "another page");

    let (game, ..) = played.open(&json!({ "env": "connect4", "player": "random", "seed": 1 }));
    for sent in [r#"{"action": 7}"#, r#"{"action": 99999999999}"#] {
        played.refuses(&format!("{game}/move"), sent, 422, "there are 0 to 6");
    }
    played.refuses(&format!("{game}/move"), r#"{"action": -1}"#, 422, "invalid value");
    played.refuses(&format!("{game}/move"), r#"{"column": 1}"#, 422, "unknown field");
    played.refuses(&format!("{game}/undo"), "", 409, "no move of yours");
    let mut position = played.moves(&game, &json!({ "action": 0 }));
    while position["legal"][0] == true && position["over"] == false {
        position = played.moves(&game, &json!({ "action": 0 }));
    }
    let why = if position["over"] == true {
        (409, "over")
    } else {
        (422, "column 0 (action 0) is not possible now")
    };
    played.refuses(&format!("{game}/move"), r#"{"action": 0}"#, why.0, why.1);
    played.server.send("POST", &format!("{game}/move"), "", "{}").refuses(403, "token");
    played.server.send("DELETE", &game, "", "").refuses(403, "token");
    for path in ["move", "undo", "new"] {
        played.refuses(&format!("{PLAY}/0123/{path}"), "{}", 404, "no game");
    }
    played.refuses(&format!("{SESSION}/0123/step"), r#"{"action": 1}"#, 404, "no game");
}

#[test]
fn only_so_many_games_are_open() {
    let played = Played::new();
    let wanted = json!({ "env": "connect4", "player": "random" });
    let ids: Vec<Value> = (0..16).map(|_| played.does("POST", PLAY, &wanted)["id"].take()).collect();
    played.refuses(PLAY, &wanted.to_string(), 503, "16 games are open");
    played.refuses(SESSION, "{}", 503, "16 games are open");
    played.does("DELETE", &format!("{PLAY}/{}", ids[3].as_str().unwrap()), &json!({}));
    assert!(played.does("POST", PLAY, &wanted)["id"].is_string());
}

/// The worlds of the reference, by its seeds, in the steps of its traces.
#[test]
fn a_session_plays_what_the_reference_played() {
    let packed = include_bytes!("../../jax_env_spec/asteroid/golden.json.gz");
    let mut text = String::new();
    GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let trace = &golden["traces"]["valid"];
    let numbers =
        |list: &Value| -> Vec<f64> { list.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect() };
    let played = Played::new();
    let close = |told: &Value, expected: &Value, what: &str| {
        let (told, expected) = (numbers(told), numbers(expected));
        assert_eq!(told.len(), 260, "{what}");
        let off =
            told.iter().zip(&expected).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f64::max);
        assert!(off < 2e-5, "{what} is off by {off}");
    };
    let begun = played.does("POST", SESSION, &json!({ "seed": trace["seed"], "client": "any" }));
    close(&begun["obs"], &trace["reset"]["obs"], "the first observation");
    assert_eq!(
        (&begun["seed"], &begun["steps"], &begun["terminated"]),
        (&trace["seed"], &0.into(), &false.into())
    );
    let session = format!("{SESSION}/{}", begun["session_id"].as_str().unwrap());
    let steps = trace["steps"].as_array().unwrap();
    for (number, step) in steps.iter().take(40).enumerate() {
        let told = played.does("POST", &format!("{session}/step"), &json!({ "action": step["action"] }));
        close(&told["obs"], &step["obs"], &format!("observation {number}"));
        let [reward, expected] = [&told["reward"], &step["reward"]].map(|x| x.as_f64().unwrap());
        assert!((reward - expected).abs() < 1e-4, "{number}: {reward}, not {expected}");
        assert_eq!((&told["terminated"], &told["truncated"]), (&step["terminated"], &step["truncated"]));
        assert_eq!((&told["steps"], &told["info"]["action"]), (&(number + 1).into(), &step["action"]));
        assert!(told["info"]["net_profit"].is_number(), "{told}");
    }
    let again = played.does("POST", &format!("{session}/reset"), &json!({ "seed": trace["seed"] }));
    assert_eq!(again["obs"], begun["obs"]);
    let ended = played.does("POST", &format!("{session}/step"), &json!({ "action": 68 }));
    assert_eq!(ended["terminated"], true);
    played.refuses(&format!("{session}/step"), r#"{"action": 1}"#, 409, "the game is over");
    let other = played.does("POST", &format!("{session}/reset"), &json!({}));
    assert!(other["seed"].is_u64() && other["steps"] == 0 && other["obs"] != begun["obs"]);
    played.refuses(&format!("{session}/step"), r#"{"action": 69}"#, 422, "there are 0 to 68");
    played.refuses(&format!("{session}/step"), "{}", 422, "missing field");
    played.refuses(SESSION, r#"{"env_time_max": 0}"#, 422, "env_time_max must be from 1");
    assert_eq!(played.does("DELETE", &session, &json!({}))["closed"], true);

    // A short episode is cut off.
    let short = played.does("POST", SESSION, &json!({ "seed": 3, "env_time_max": 2 }));
    let session = format!("{SESSION}/{}", short["session_id"].as_str().unwrap());
    played.does("POST", &format!("{session}/step"), &json!({ "action": 6 }));
    let told = played.does("POST", &format!("{session}/step"), &json!({ "action": 6 }));
    assert_eq!((&told["terminated"], &told["truncated"]), (&false.into(), &true.into()));
}
