//! A person against an agent: `play`, by lines and on a terminal.

use std::io::{Read, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use super::dashboard::{ENTER, LEAVE, on_terminal, press};
use super::{Done, done, lockstep, run};

/// What is printed when these lines are typed.
fn typed(args: &[&str], lines: &str) -> Done {
    let mut process = lockstep(&[&["play", "connect4"], args].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    done(process.wait_with_output().unwrap())
}

/// The boards in a text, each as its lines.
fn boards(text: &str) -> Vec<String> {
    let blocks = text.split(" 0 1 2 3 4 5 6\n").skip(1);
    blocks.map(|block| block.lines().take(6).collect::<Vec<_>>().join("\n")).collect()
}

#[test]
fn a_game_is_played_to_its_end_by_lines() {
    let lines: String = (0..7).cycle().take(60).map(|column| format!("{column}\n")).collect();
    let text = typed(&["heuristic"], &lines).stdout();
    let boards = boards(&text);
    let counts = boards.iter().map(|board| [board.matches('X').count(), board.matches('O').count()]);
    for (stones, [x, o]) in counts.enumerate() {
        assert_eq!((x, o), (stones.div_ceil(2), stones / 2), "one stone after the other\n{text}");
    }
    let results = ["you win\n", "heuristic wins\n", "a draw\n"];
    let found: usize = results.iter().map(|result| text.matches(result).count()).sum();
    assert_eq!(found, 1, "{text}");
    assert!(text.contains("the game is over; type new, undo or quit"), "{text}");
    assert!(text.starts_with(" 0 1 2 3 4 5 6\n . . . . . . .\n"), "{text}");
    assert!(!text.contains('\x1b'));
}

#[test]
fn moves_are_taken_back_and_games_begun_anew() {
    let text = typed(&["heuristic"], "3\nundo\ncolumn 3\nundo\nundo\nnew\n").stdout();
    let boards = boards(&text);
    // The empty board, two moves, none, the same two moves, none, and the next game.
    assert_eq!(boards.len(), 8, "{text}");
    assert!([3, 6, 7].iter().all(|&i| boards[i] == boards[0]), "{text}");
    assert_eq!(boards[1..3], boards[4..6], "the same moves are answered in the same way\n{text}");
    assert_eq!(text.matches("there is no move of yours to take back\n").count(), 1, "{text}");
    assert_eq!(text.matches("you: column 3\n").count(), 2, "{text}");
}

#[test]
fn what_the_agent_thinks_and_what_is_no_move() {
    let text = typed(&[], "values\n7\nup\n3\nquit\n5\n").stdout();
    let percents: Vec<&str> = text.lines().filter(|line| line.ends_with('%')).collect();
    assert_eq!(percents.len(), 7, "{text}");
    assert_eq!(percents.iter().filter(|line| line.ends_with(" 100.0%")).count(), 1, "{text}");
    assert!(
        percents[3].starts_with("column 3 ") && percents[3].ends_with(" 100.0%"),
        "the middle first\n{text}"
    );
    for word in ["7", "up"] {
        let complaint =
            format!("`{word}` is no move; type one of 0, 1, 2, 3, 4, 5, 6, or values, undo, new or quit");
        assert!(text.contains(&complaint), "{text}");
    }
    assert!(text.contains("\nsmart_heuristic: column ") && !text.contains("you: column 5"), "{text}");

    let second = typed(&["random", "--second", "--seed", "3"], "").stdout();
    assert!(second.contains("\nrandom: column ") && second.contains("O to move"), "{second}");
    assert_eq!(boards(&second)[1].matches('X').count(), 1, "{second}");
    run(&["play", "cartpole"])
        .fails_in_one_line(2, &["cartpole is for one player; a person plays games for two; see `watch`"]);
    run(&["play", "connect4", "heuristik"]).fails_in_one_line(2, &["did you mean heuristic?"]);
    run(&["play"]).fails_in_one_line(2, &["<NAME>"]);
}

/// The screen is drawn by what changes on it, so each key is followed by a piece of text that it makes new.
#[test]
fn a_terminal_gets_the_full_screen() {
    let Some(mut command) = on_terminal(&["play", "connect4", "random"]) else { return };
    let mut process = command.spawn().unwrap();
    let drawn = read_in_background(process.stdout.take().unwrap());
    let mut screen = Vec::new();
    let mut seen = |process: &mut Child, until: &str| {
        let from = screen.len();
        while !String::from_utf8_lossy(&screen[from..]).contains(until) {
            let Ok(bytes) = drawn.recv_timeout(Duration::from_secs(120)) else {
                process.kill().unwrap();
                panic!("no {until:?} in {:?}", String::from_utf8_lossy(&screen[from..]));
            };
            screen.extend(bytes);
        }
    };
    seen(&mut process, "▼"); // keys are read from now on
    for (key, until) in [
        (&b"\x1b[C"[..], "▼"),
        (b"\r", "which"),
        (b"v", "agent's"),
        (b"u", "."),
        (b"\r", "which"),
        (b"n", "."),
        (b"q", LEAVE),
    ] {
        press(&mut process, key);
        seen(&mut process, until);
    }
    let screen = String::from_utf8_lossy(&screen);
    assert!(screen.contains(ENTER) && screen.contains("random"), "{screen:?}");
    let _keyboard = process.stdin.take();
    assert_eq!(process.wait().unwrap().code(), Some(0));
}

/// What is read, piece by piece.
fn read_in_background(mut output: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut bytes) {
            if sender.send(bytes[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}
