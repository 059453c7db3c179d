//! Moves from lines, and the board as text: for pipes, and for whoever likes it so.

use std::io::BufRead;

use anyhow::{Context, Result};

use super::game::Game;
use crate::cli::print;
use crate::envs::painter::Painter;

/// What a line asks for.
#[derive(Debug, PartialEq)]
enum Wish {
    Play(usize),
    Values,
    Undo,
    New,
    Quit,
}

/// Plays until `quit` or the end of the input.
///
/// # Errors
/// Whatever the device reports.
pub fn run(game: &mut Game, painter: &dyn Painter, input: impl BufRead) -> Result<()> {
    let mut lines = input.lines();
    show(game, painter)?;
    loop {
        while !game.is_over() && !game.is_persons_turn() {
            let action = game.answer()?;
            print(&format!("{}: {}\n", game.agent(), game.name(action)))?;
            show(game, painter)?;
        }
        let Some(line) = lines.next() else { return Ok(()) };
        let line = line.context("cannot read the next move")?;
        match wish(game, line.trim()) {
            Err(complaint) => print(&format!("{complaint}\n"))?,
            Ok(Wish::Quit) => return Ok(()),
            Ok(Wish::Values) => print(&values(game))?,
            Ok(Wish::Play(action)) => {
                print(&format!("you: {}\n", game.name(action)))?;
                game.play(action)?;
                show(game, painter)?;
            }
            Ok(Wish::Undo) => match game.undo()? {
                true => show(game, painter)?,
                false => print("there is no move of yours to take back\n")?,
            },
            Ok(Wish::New) => {
                game.new_game()?;
                show(game, painter)?;
            }
        }
    }
}

/// What a line means.
///
/// # Errors
/// What to type instead.
fn wish(game: &Game, line: &str) -> Result<Wish, String> {
    match line {
        "values" | "v" => return Ok(Wish::Values),
        "undo" | "u" => return Ok(Wish::Undo),
        "new" | "n" => return Ok(Wish::New),
        "quit" | "q" => return Ok(Wish::Quit),
        _ => {}
    }
    if game.is_over() {
        return Err("the game is over; type new, undo or quit".into());
    }
    let named = || (0..game.num_actions()).find(|&action| game.name(action) == line);
    match line.parse().ok().or_else(named) {
        Some(action) if game.is_valid(action) => Ok(Wish::Play(action)),
        _ => {
            let valid: Vec<String> = game.choices().map(|action| action.to_string()).collect();
            Err(format!(
                "`{line}` is no move; type one of {}, or values, undo, new or quit",
                valid.join(", ")
            ))
        }
    }
}

/// The board, what else there is to know, and the result once there is one.
fn show(game: &Game, painter: &dyn Painter) -> Result<()> {
    let picture = painter.paint(&game.moment().frame());
    let mut text = String::new();
    for line in picture.board.iter().chain(&picture.facts) {
        text += line.to_string().trim_end();
        text.push('\n');
    }
    text += &game.result().map_or(String::new(), |result| format!("{result}\n"));
    print(&(text + "\n"))
}

/// What the agent thinks of each move, one a line.
fn values(game: &Game) -> String {
    let mut text = String::new();
    if let Some(value) = game.moment().value {
        text += &format!("value {value:.3}\n");
    }
    for thought in game.thoughts() {
        text += &format!("{:<16}{:>6.1}%", thought.name, 100.0 * thought.probability);
        text += &thought.value.map_or(String::new(), |value| format!("  worth {value:.3}"));
        text.push('\n');
    }
    text + "\n"
}
