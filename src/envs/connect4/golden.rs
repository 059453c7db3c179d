//! What is known of the game, compared with the compiled one: positions, scripted players, whole games as one player sees them,
//! numbers of move sequences, solved positions.
//!
//! `jax_env_spec/connect4/README.md` describes the files. A file is one JSON document or JSON lines, gzipped or not; its first
//! value says what it is.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::envs::entry::{self, Open, Replay};
use crate::envs::golden::{Tally, lines, read_text};
use crate::lang::Backend;

use super::referee::Expander;
use super::{Board, Connect4, Position, Referee};

mod checks;
mod records;

use records::{Known, Record, Root, Solved};

/// Games that are played at once.
const WIDTH: usize = 512;
/// Positions whose moves are all played at once.
const PARENTS: usize = 1 << 14;
/// The largest number of move sequences that is counted.
pub const MOST_SEQUENCES: u64 = 6_000_000;

/// What a file holds.
pub enum File {
    Records(Vec<Record>),
    Solved(Vec<Solved>),
    Roots(Vec<Root>),
    /// A document that is not about the game itself.
    Other(Value),
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// One line with the name of the file, and the line of it that is malformed.
    pub fn read(path: &Path) -> Result<File> {
        File::parse(&read_text(path)?).map_err(|error| anyhow!("{}{error}", path.display()))
    }

    /// Parses the text of a file. Errors begin with `: ` or `:LINE: `.
    fn parse(text: &str) -> Result<File, String> {
        let first = text.lines().find(|line| !line.trim().is_empty()).ok_or(": there is nothing in it")?;
        let is_document = serde_json::from_str::<Value>(text).is_ok();
        if is_document && !["\"kind\"", "\"set\""].iter().any(|key| first.contains(key)) {
            let value: Value = serde_json::from_str(text).expect("it was parsed before");
            return match value.get("roots") {
                Some(roots) => Vec::deserialize(roots).map(File::Roots).map_err(|error| format!(": {error}")),
                None => Ok(File::Other(value)),
            };
        }
        match first.contains("\"kind\"") {
            true => lines(text).map(File::Records),
            false => lines(text).map(File::Solved),
        }
    }
}

/// Reads a file and compares what it says with the compiled game, on the usual board and on the others that the file names.
///
/// # Errors
/// One line for a malformed file, a board that does not fit, or what the device reports.
pub fn open(path: &Path, open: Open) -> Result<Replay> {
    let file = File::read(path)?;
    if let File::Other(_) = file {
        bail!("{}: this is no golden data of connect4", path.display());
    }
    let backend = open()?;
    Ok(Box::new(move |_seeds, out| file.verify(&backend, out)))
}

/// The solved positions of a file, those of the usual board.
///
/// # Errors
/// One line: a malformed file, or one of something else.
pub fn positions(path: &Path) -> Result<Vec<entry::Position>> {
    let File::Solved(solved) = File::read(path)? else {
        bail!("{}: these are no solved positions", path.display())
    };
    let columns = Connect4::default().board.cols;
    let position = |Solved { id, set, moves, columns: values, .. }: Solved| {
        let values =
            values.map(|values| values.into_iter().map(|value| value.map(f64::from)).collect::<Vec<_>>());
        let count = values.as_ref().map_or(columns, Vec::len);
        ensure!(
            count == columns,
            "{}: position {id} tells of {count} columns, not {columns}",
            path.display()
        );
        Ok(entry::Position { set, moves: moves.0, values })
    };
    solved.into_iter().map(position).collect()
}

impl File {
    /// Compares, prints what differs, and gives the number of failures.
    fn verify(&self, backend: &Backend, out: &mut dyn Write) -> Result<usize> {
        match self {
            File::Records(records) => verify_all(records, backend, out),
            File::Solved(solved) => verify_all(solved, backend, out),
            File::Roots(roots) => verify_roots(roots, MOST_SEQUENCES, backend, out),
            File::Other(_) => bail!("this is no golden data of connect4"),
        }
    }
}

/// Compares records of boards of any size.
fn verify_all<T: Known>(all: &[T], backend: &Backend, out: &mut dyn Write) -> Result<usize> {
    let mut by_board: BTreeMap<Board, Vec<&T>> = BTreeMap::new();
    for record in all {
        let (rows, cols) = record.size();
        let board = Board::new(rows, cols).map_err(|error| anyhow!("{}: {error}", record.name()))?;
        by_board.entry(board).or_default().push(record);
    }
    let mut tally = Tally::new(out);
    for (board, records) in by_board {
        let games: Vec<_> = records.iter().flat_map(|record| record.games()).collect();
        let referee = Referee::new(Connect4 { board }, WIDTH.min(games.len()), backend)?;
        let (rewards, moves): (Vec<_>, Vec<_>) = games.into_iter().unzip();
        let played = referee.play(&rewards, &moves)?;
        let last: Vec<Position> =
            played.iter().map(|game| game.last().expect("the empty board is seen").position).collect();
        let thoughts = referee.think(&last)?;
        let mut start = 0;
        for record in records {
            let first = start;
            start += record.games().len();
            let games = &played[first..start];
            tally.add(&record.name(), &record.differences(board, games, &thoughts[first]))?;
        }
    }
    tally.finish()
}

/// Counts the move sequences from each root, of every length that is known, but not more than `most` at once.
///
/// # Errors
/// As [`open`].
pub fn verify_roots(roots: &[Root], most: u64, backend: &Backend, out: &mut dyn Write) -> Result<usize> {
    let mut expanders: BTreeMap<Board, Expander> = BTreeMap::new();
    let mut tally = Tally::new(out);
    let mut left_out = 0;
    for root in roots {
        let board = Board::new(root.rows, root.cols).map_err(|error| anyhow!("{error}"))?;
        let expander = match expanders.remove(&board) {
            Some(expander) => expander,
            None => Expander::new(Connect4 { board }, PARENTS, backend)?,
        };
        let mut positions = vec![root.position(&expander)?];
        let counted = root.depths.iter().take_while(|known| known[0] <= most).count();
        for (depth, known) in root.depths[..counted].iter().enumerate() {
            let children = expander.children(&positions, depth + 1 < counted)?;
            let differs = children.counts != *known;
            let difference = differs.then(|| format!("expected {known:?}, got {:?}", children.counts));
            let name =
                format!("{}x{} after `{}`, {} more moves", root.rows, root.cols, root.moves, depth + 1);
            tally.add(&name, difference.as_slice())?;
            positions = children.running;
        }
        left_out += root.depths.len() - counted;
        expanders.insert(board, expander);
    }
    if left_out > 0 {
        writeln!(tally.out, "{left_out} numbers above {most} were not counted")?;
    }
    tally.finish()
}
