//! The protocol with the oracle behind it, as a client sees it.

use std::io::Cursor;

use serde_json::{Value, json};

use super::*;

/// A client: sends values, reads values.
struct Client<'a>(Session<'a>);

impl Client<'_> {
    fn send(&mut self, command: Value) -> Value {
        serde_json::from_str(&self.0.reply(command.to_string().as_bytes())).unwrap()
    }

    fn set(&mut self, state: Value) -> Value {
        let reply = self.send(json!({ "action": "setState", "state": state }));
        assert!(reply.get("error").is_none(), "{reply}");
        reply["observation"].clone()
    }

    fn step(&mut self, action: i32) -> Value {
        self.send(json!({ "action": "step", "actionIndex": action }))
    }

    fn mask(&mut self) -> Vec<i64> {
        let reply = self.send(json!({ "action": "getValidActions" }));
        reply["validActions"].as_array().unwrap().iter().map(|action| action.as_i64().unwrap()).collect()
    }

    fn internal(&mut self) -> Value {
        self.send(json!({ "action": "getInternalState" }))
    }
}

fn with_client(run: impl FnOnce(Client)) {
    let mut table = OracleTable::new(Rules::default(), 7);
    run(Client(Session::new(&mut table)));
}

fn cell(observation: &Value, row: usize, col: usize) -> Value {
    observation["cells"][row][col].clone()
}

const UP: i32 = 0;
const DOWN: i32 = 1;
const RIGHT: i32 = 3;
const WAIT: i32 = 10;

#[test]
fn every_line_gets_one_reply() {
    let input = b"{\"action\": \"reset\", \"unknown\": 1}\nnonsense\n\n\xff\xfe\n{\"action\": 3}\n{\"action\":\"dance\"}\n\
        {\"action\":\"step\"}\n{\"action\":\"step\",\"actionIndex\":28}\n{\"action\":\"setState\"}\n\
        {\"action\":\"setState\",\"state\":{\"player\":{}}}\n{\"action\":\"getActionSpace\"}\n{\"action\":\"getObservationSpace\"}";
    let mut output = Vec::new();
    serve(Cursor::new(input), &mut output, &mut OracleTable::new(Rules::default(), 1)).unwrap();
    let output = String::from_utf8(output).unwrap();
    let replies: Vec<&str> = output.lines().collect();
    assert!(replies[0].starts_with("{\"observation\":{"));
    let rest = [
        r#"{"error":"Invalid command"}"#,
        r#"{"error":"Invalid command"}"#,
        r#"{"error":"Invalid command"}"#,
        r#"{"error":"Invalid command"}"#,
        r#"{"error":"Unknown command: dance"}"#,
        r#"{"error":"Missing actionIndex"}"#,
        r#"{"error":"actionIndex 28 is not 0..27"}"#,
        r#"{"error":"Missing state data for setState command"}"#,
        r#"{"error":"Invalid command"}"#,
        r#"{"actionSpaceSize":28}"#,
        r#"{"cellFeatures":20,"gridSize":6,"playerFeatures":9}"#,
    ];
    assert_eq!(replies[1..], rest);
}

#[test]
fn the_log_shows_lines_and_boards_and_the_output_stays_clean() {
    let flags = Flags { debug: true, visual_cli: true, ..Flags::default() };
    let (mut output, mut log) = (Vec::new(), Vec::new());
    let mut table = OracleTable::new(Rules::default(), 1);
    serve_with(&flags, Cursor::new("nonsense\n{\"action\":\"reset\"}\n"), &mut output, &mut log, &mut table)
        .unwrap();
    let (output, log) = (String::from_utf8(output).unwrap(), String::from_utf8(log).unwrap());
    assert_eq!(output.lines().count(), 2);
    assert!(log.starts_with("< nonsense\n> {\"error\":\"Invalid command\"}\n< {"));
    assert!(log.contains("stage 1/8") && log.contains("EXIT"));
}

#[test]
fn before_a_game_there_is_nothing_to_see() {
    with_client(|mut client| {
        assert!(client.mask().is_empty());
        assert_eq!(
            client.internal(),
            json!({"scheduledTaskInterval": 0, "nextScheduledTaskTurn": 0, "pendingSiphonTransmissions": 0,
                "turnCount": 0, "enemies": []})
        );
        assert!(client.step(UP)["error"].as_str().unwrap().contains("send reset"));
    });
}

#[test]
fn a_new_game_can_be_played() {
    with_client(|mut client| {
        let observation = client.send(json!({ "action": "reset" }))["observation"].clone();
        assert_eq!((&observation["playerHP"], &observation["stage"]), (&json!(3), &json!(1)));
        let mask = client.mask();
        assert!(!mask.is_empty() && mask.is_sorted());
        let reply = client.step(mask[0] as i32);
        assert!(reply["reward"].is_number() && reply["done"].is_boolean());
        let breakdown = reply["info"]["reward_breakdown"].as_object().unwrap();
        assert_eq!(breakdown.len(), 15);
        let sum: f64 = breakdown.values().map(|part| part.as_f64().unwrap()).sum();
        assert!((sum - reply["reward"].as_f64().unwrap()).abs() < 1e-5);
    });
}

#[test]
fn a_given_state_is_empty_but_for_what_it_says() {
    with_client(|mut client| {
        let observation = client.set(json!({ "player": { "row": 2, "col": 3, "hp": 9 }, "stage": 5 }));
        let cells = observation["cells"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
        for cell in cells {
            let exit = cell["row"] == 5 && cell["col"] == 5;
            assert_eq!(
                *cell,
                json!({"row": cell["row"], "col": cell["col"], "isDataSiphon": false, "isExit": exit,
                    "siphonCenter": false})
            );
        }
        let mut rest = observation.clone();
        rest.as_object_mut().unwrap().remove("cells");
        assert_eq!(
            rest,
            json!({"playerRow": 2, "playerCol": 3, "playerHP": 3, "credits": 0, "energy": 0, "stage": 5,
                "turn": 0, "dataSiphons": 0, "baseAttack": 1, "score": 0, "showActivated": false,
                "scheduledTasksDisabled": false, "ownedPrograms": [], "cryptogHints": []})
        );
        let internal = client.internal();
        assert_eq!(
            (&internal["scheduledTaskInterval"], &internal["nextScheduledTaskTurn"]),
            (&json!(12), &json!(12))
        );
    });
}

#[test]
fn the_exit_is_always_in_the_corner() {
    with_client(|mut client| {
        let observation = client.set(json!({
            "player": { "row": 5, "col": 5 },
            "blocks": [{ "row": 5, "col": 5, "type": "data", "points": 3 }],
            "resources": [{ "row": 5, "col": 5, "dataSiphon": true }],
        }));
        let corner = cell(&observation, 5, 5);
        assert_eq!((&corner["isExit"], &corner["isDataSiphon"]), (&json!(true), &json!(false)));
        assert!(corner.get("block").is_none());
        assert_eq!(client.mask(), [1, 2], "standing on the exit is no victory");
    });
}

#[test]
fn blocks_and_resources_are_placed_as_given() {
    with_client(|mut client| {
        let observation = client.set(json!({
            "player": { "row": 0, "col": 0 },
            "blocks": [
                { "row": 1, "col": 1, "type": "data", "points": 10, "siphoned": true },
                { "row": 1, "col": 2, "type": "program", "programType": "SIPHPLUS" },
                { "row": 1, "col": 3, "type": "program", "programActionIndex": 14, "spawnCount": 0 },
                { "row": 1, "col": 4, "type": "question", "siphoned": true },
                { "row": 9, "col": 9, "type": "data" },
                { "row": 2, "col": 0, "type": "data" },
            ],
            "resources": [
                { "row": 1, "col": 1, "credits": 2, "energy": 3 },
                { "row": 1, "col": 2, "energy": 1 },
                { "row": 2, "col": 2, "energy": 1 },
                { "row": 2, "col": 0, "dataSiphon": true, "credits": 5 },
            ],
        }));
        assert_eq!(
            cell(&observation, 1, 1)["block"],
            json!({"blockType": "data", "isSiphoned": true, "points": 10, "transmissionSpawnCount": 10})
        );
        assert_eq!(cell(&observation, 1, 1)["credits"], 2, "a siphoned block does not hide its resource");
        assert!(cell(&observation, 1, 1).get("energy").is_none(), "credits win over energy");
        assert_eq!(
            cell(&observation, 1, 2)["block"],
            json!({"blockType": "program", "isSiphoned": false, "points": 0, "programType": "siph+",
                "programActionIndex": 16, "transmissionSpawnCount": 2})
        );
        assert!(cell(&observation, 1, 2).get("energy").is_none(), "hidden under the block");
        assert_eq!(cell(&observation, 1, 3)["block"]["programType"], "undo");
        assert!(cell(&observation, 1, 4).get("block").is_none());
        assert_eq!(cell(&observation, 2, 2)["energy"], 1);
        assert_eq!(cell(&observation, 2, 0)["isDataSiphon"], true);
        assert!(cell(&observation, 2, 0).get("block").is_none());
    });
}

#[test]
fn enemies_keep_their_order_and_unknown_ones_are_skipped() {
    with_client(|mut client| {
        let enemy = |kind: &str, hp: i32| json!({ "type": kind, "row": 5, "col": 5, "hp": hp });
        client.set(json!({
            "player": { "row": 0, "col": 0 },
            "enemies": [enemy("Daemon", 2), enemy("dragon", 9), enemy("virus", 1)],
            "transmissions": [{ "row": 3, "col": 3, "turnsRemaining": 2, "enemyType": "GLITCH" }],
        }));
        let enemies = client.internal()["enemies"].clone();
        assert_eq!(
            enemies[0],
            json!({"row": 5, "col": 5, "type": "daemon", "hp": 2, "disabledTurns": 0, "isStunned": false,
                "spawnedFromSiphon": false, "isFromScheduledTask": false})
        );
        assert_eq!((enemies[1]["type"].as_str(), enemies.as_array().unwrap().len()), (Some("virus"), 2));
    });
}

#[test]
fn show_reveals_cryptogs_and_transmission_types() {
    let state = |show: bool| {
        json!({
            "player": { "row": 0, "col": 0 },
            "enemies": [{ "type": "cryptog", "row": 3, "col": 4, "hp": 2 }],
            "transmissions": [{ "row": 2, "col": 2, "turnsRemaining": 3, "enemyType": "virus" }],
            "showActivated": show,
        })
    };
    with_client(|mut client| {
        let hidden = client.set(state(false));
        assert!(cell(&hidden, 3, 4).get("enemy").is_none());
        assert_eq!(hidden["cryptogHints"], json!([{ "row": 3, "col": 4 }]));
        assert_eq!(cell(&hidden, 2, 2)["transmission"], json!({ "turnsUntilSpawn": 3 }));
        let shown = client.set(state(true));
        assert_eq!(
            cell(&shown, 3, 4)["enemy"],
            json!({"type": "cryptog", "hp": 2, "isStunned": false, "spawnedFromSiphon": false})
        );
        assert_eq!(shown["cryptogHints"], json!([]));
        assert_eq!(cell(&shown, 2, 2)["transmission"], json!({ "turnsUntilSpawn": 3, "enemyType": "virus" }));
    });
}

#[test]
fn undo_is_masked_until_there_is_a_history() {
    with_client(|mut client| {
        client.set(json!({ "player": { "row": 0, "col": 0, "credits": 5 }, "ownedPrograms": [14] }));
        assert!(!client.mask().contains(&14));
        client.step(UP);
        assert!(client.mask().contains(&14));
    });
}

#[test]
fn an_invalid_action_changes_nothing_and_ends_the_episode() {
    with_client(|mut client| {
        let before =
            client.set(json!({ "player": { "row": 0, "col": 0, "credits": 1 }, "ownedPrograms": [20] }));
        for action in [DOWN, 4, 20] {
            let reply = client.step(action);
            assert_eq!((&reply["reward"], &reply["done"]), (&json!(0.0), &json!(true)));
            assert_eq!(reply["info"]["invalid_action"], true);
            assert_eq!(reply["observation"], before);
        }
        assert_eq!(client.internal()["scheduledTaskInterval"], 12);
        assert_eq!(client.step(UP)["done"], false, "the game goes on if the client does");
    });
}

#[test]
fn what_no_game_can_hold_is_refused_by_the_name_of_its_field() {
    let enemy = |hp: i64| json!({ "type": "virus", "row": 1, "col": 1, "hp": hp });
    let cell = |more: Value| {
        let mut cell = json!({ "row": 1, "col": 1 });
        cell.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([cell])
    };
    let transmission = |turns: i64| cell(json!({ "turnsRemaining": turns, "enemyType": "virus" }));
    let cases = [
        ("player", json!({ "row": 6, "col": 0 }), "player: (6, 0) is outside the 6x6 board"),
        ("player", json!({ "row": 0, "col": i64::MIN }), "player: (0, -9223372036854775808) is outside"),
        ("stage", json!(9), "stage is 9; it must be from 1 to 8"),
        ("turn", json!(-1), "turn is -1; it must be from 0 to 1000000"),
        ("ownedPrograms", json!([5, 4]), "ownedPrograms[1] is 4; it must be from 5 to 27"),
        ("enemies", json!([enemy(2), enemy(4)]), "enemies[1].hp is 4; it must be from 1 to 2"),
        ("enemies", json!(vec![enemy(2); 65]), "enemies has 65 entries; there is room for 64"),
        (
            "transmissions",
            transmission(256),
            "transmissions[0].turnsRemaining is 256; it must be from 1 to 255",
        ),
        ("transmissions", transmission(0), "transmissions[0].turnsRemaining is 0; it must be from 1 to 255"),
        (
            "blocks",
            cell(json!({ "type": "data", "points": 32 })),
            "blocks[0].points is 32; it must be from 0 to 31",
        ),
        (
            "blocks",
            cell(json!({ "type": "data", "points": 16 })),
            "blocks[0].spawnCount is 16; it must be from 0",
        ),
        (
            "blocks",
            cell(json!({ "type": "program", "programActionIndex": 5, "spawnCount": -1 })),
            "blocks[0].spawnCount is -1; it must be from 0 to 15",
        ),
        ("resources", cell(json!({ "credits": 5 })), "resources[0].credits is 5; it must be from 0 to 3"),
        ("resources", cell(json!({ "energy": 4 })), "resources[0].energy is 4; it must be from 0 to 3"),
    ];
    with_client(|mut client| {
        let mut refused = |state: Value, expected: &str| {
            let reply = client.send(json!({ "action": "setState", "state": state }));
            let said = reply["error"].as_str().unwrap();
            assert!(said.starts_with(&format!("setState: {expected}")), "{said}");
        };
        for (field, value, expected) in cases {
            let mut state = json!({ "player": { "row": 0, "col": 0 } });
            state[field] = value;
            refused(state, expected);
        }
        let fields = [("credits", 0), ("energy", 0), ("dataSiphons", 0), ("attackDamage", 1), ("score", 0)];
        for (field, least) in fields {
            for number in [-1, 1_000_001, 3_000_000_000, i64::MIN, i64::MAX] {
                let mut state = json!({ "player": { "row": 0, "col": 0 } });
                state["player"][field] = json!(number);
                refused(state, &format!("player.{field} is {number}; it must be from {least} to 1000000"));
            }
        }
    });
}

#[test]
fn death_and_the_end_of_a_stage_are_in_the_info() {
    with_client(|mut client| {
        client.set(json!({
            "player": { "row": 0, "col": 0, "hp": 1, "energy": 1 },
            "enemies": [{ "type": "virus", "row": 0, "col": 1, "hp": 2 }],
            "ownedPrograms": [10],
        }));
        let reply = client.step(WAIT);
        assert_eq!((&reply["done"], &reply["info"]["death"]), (&json!(true), &json!(true)));
        assert!(reply["reward"].as_f64().unwrap() < 0.0);

        client.set(json!({ "player": { "row": 5, "col": 4, "hp": 2, "credits": 7 }, "turn": 9 }));
        let reply = client.step(RIGHT);
        let observation = &reply["observation"];
        assert_eq!(reply["info"]["stage_complete"], true);
        assert_eq!((&observation["stage"], &observation["turn"]), (&json!(2), &json!(0)));
        assert_eq!((&observation["playerHP"], &observation["credits"]), (&json!(3), &json!(7)));
        let cells: Vec<&Value> =
            observation["cells"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap()).collect();
        let count = |key: &str| cells.iter().filter(|cell| cell.get(key).is_some()).count();
        let flag = |key: &str| cells.iter().filter(|cell| cell[key] == true).count();
        assert!((5..=11).contains(&count("block")));
        assert_eq!((count("transmission"), flag("isDataSiphon"), flag("isExit")), (2, 2, 1));

        client.set(json!({ "player": { "row": 5, "col": 4, "score": 10 }, "stage": 8 }));
        let reply = client.step(RIGHT);
        assert_eq!((&reply["done"], &reply["observation"]["stage"]), (&json!(true), &json!(8)));
        assert!((reply["reward"].as_f64().unwrap() - 1600.04).abs() < 1e-3);
    });
}

#[test]
fn programs_keep_the_order_in_which_they_came() {
    with_client(|mut client| {
        let observation = client.set(json!({
            "player": { "row": 2, "col": 2, "dataSiphons": 1 },
            "ownedPrograms": [20, 7, 20],
            "blocks": [{ "row": 3, "col": 2, "type": "program", "programType": "push", "spawnCount": 3 }],
        }));
        assert_eq!(observation["ownedPrograms"], json!([20, 7]));
        let observation = client.step(4)["observation"].clone();
        assert_eq!(observation["ownedPrograms"], json!([20, 7, 5]));
        assert_eq!(observation["dataSiphons"], 0);
        let spawned = observation["cells"].to_string().matches("turnsUntilSpawn").count();
        assert_eq!(spawned, 3);
    });
}

#[test]
fn scheduled_tasks_run_unless_calm() {
    with_client(|mut client| {
        let mut enemies_after_20_waits = |calm: bool| {
            client.set(json!({
                "player": { "row": 0, "col": 0, "energy": 30 },
                "ownedPrograms": [10],
                "scheduledTasksDisabled": calm,
            }));
            let mut most = 0;
            for _ in 0..20 {
                client.step(WAIT);
                most = most.max(client.internal()["enemies"].as_array().unwrap().len());
            }
            (most, client.internal()["nextScheduledTaskTurn"].clone())
        };
        assert_eq!(enemies_after_20_waits(false), (1, json!(24)));
        assert_eq!(enemies_after_20_waits(true), (0, json!(12)));
    });
}

#[test]
fn programs_are_restricted_in_development_mode_only() {
    let flags = |dev_mode: bool, programs: &str| Flags {
        dev_mode,
        programs: programs.split(',').map(String::from).collect(),
        ..Flags::default()
    };
    assert_eq!(flags(true, "undo,push,Wait").pool(), [0, 9]);
    assert_eq!(flags(false, "undo,push").pool().len(), PROGRAMS);
    assert_eq!(flags(true, "nothing").pool().len(), PROGRAMS);
}
