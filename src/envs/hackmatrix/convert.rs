//! States on the host: from games to arrays and back.
//!
//! The arrays are the leaves of [`State`] in order, with the games on the last axis. What no rule reads is lost: the
//! order in which programs were acquired, and where cryptogs were last seen.

use std::collections::HashMap;

use anyhow::{Result, ensure};

use crate::array::{ArrayType, DType, HostArray};
use crate::lang::{Key, leaf_paths, leaf_types, structure_of};

use super::host::{
    Board, Cell, Enemy, EnemyType, Game, Grid, SLOTS, Snapshot, Transmission, block, digits, rules,
};
use super::state::{HISTORY, World};
use super::{Env, HackMatrix};

/// The leaves of one game's state: for each path its elements, as bits in u64.
#[derive(Clone, Debug, Default, PartialEq)]
struct Leaves(HashMap<String, Vec<u64>>);

/// Converts states of many games.
pub struct Converter {
    paths: Vec<String>,
    types: Vec<ArrayType>,
}

impl Converter {
    pub fn new() -> Converter {
        let state = structure_of(|| {
            HackMatrix::default().reset(&HackMatrix::default().default_params(), Key::new(0))
        });
        Converter { paths: leaf_paths(&state), types: leaf_types(&state) }
    }

    /// The leaves of the state, each with the games on the last axis. Fails on a game that has values which the
    /// arrays cannot hold, such as more than 64 enemies.
    pub fn to_arrays(&self, games: &[Game]) -> Result<Vec<HostArray>> {
        let games: Vec<Leaves> = games.iter().map(game_to_leaves).collect::<Result<_>>()?;
        Ok(self
            .paths
            .iter()
            .zip(&self.types)
            .map(|(path, array_type)| join(&games, path, array_type))
            .collect())
    }

    /// Arrays in the order of the leaves, with their paths.
    pub fn named(&self, arrays: Vec<HostArray>) -> Vec<(String, HostArray)> {
        assert_eq!(arrays.len(), self.paths.len(), "these are not the leaves of a state");
        self.paths.iter().cloned().zip(arrays).collect()
    }

    /// The games of a state's leaves, by path and with the games on the last axis.
    pub fn from_arrays(&self, arrays: Vec<(String, HostArray)>) -> Vec<Game> {
        assert!(arrays.iter().map(|(path, _)| path).eq(&self.paths), "these are not the leaves of a state");
        let count = *arrays[0].1.shape().last().expect("the games are the last axis");
        let mut games = vec![Leaves::default(); count];
        for (path, array) in arrays {
            let bits = to_bits(&array);
            for (index, game) in games.iter_mut().enumerate() {
                game.0.insert(path.clone(), bits.iter().skip(index).step_by(count).copied().collect());
            }
        }
        games.iter().map(leaves_to_game).collect()
    }
}

impl Default for Converter {
    fn default() -> Self {
        Converter::new()
    }
}

/// One leaf of all games.
fn join(games: &[Leaves], path: &str, array_type: &ArrayType) -> HostArray {
    let values =
        (0..array_type.size()).flat_map(|element| games.iter().map(move |game| game.0[path][element]));
    let shape = [&array_type.shape[..], &[games.len()]].concat();
    match array_type.dtype {
        DType::Bool => HostArray::new(&shape, values.map(|bits| bits != 0).collect()),
        DType::I32 => HostArray::new(&shape, values.map(|bits| bits as i32).collect()),
        DType::U64 => HostArray::new(&shape, values.collect()),
        other => unreachable!("no leaf of the state is {other}"),
    }
}

fn to_bits(array: &HostArray) -> Vec<u64> {
    match array.dtype() {
        DType::Bool => array.as_slice::<bool>().iter().map(|&flag| flag as u64).collect(),
        DType::I32 => array.as_slice::<i32>().iter().map(|&number| number as u64).collect(),
        DType::U64 => array.as_slice::<u64>().to_vec(),
        other => unreachable!("no leaf of the state is {other}"),
    }
}

impl Leaves {
    fn put(&mut self, path: impl Into<String>, value: u64) {
        self.0.insert(path.into(), vec![value]);
    }

    fn get(&self, path: &str) -> u64 {
        self.0[path][0]
    }

    fn int(&self, path: &str) -> i32 {
        self.get(path) as i32
    }

    /// Numbers of things, as one set per binary digit at `path.0`, `path.1`, ...
    fn put_numbers(&mut self, path: &str, digits: usize, numbers: &[i32]) -> Result<()> {
        for (index, &number) in numbers.iter().enumerate() {
            ensure!(
                (0..1 << digits).contains(&number),
                "{path}: {number} at {index} is not below {}",
                1 << digits
            );
        }
        for digit in 0..digits {
            self.put(format!("{path}.{digit}"), set(numbers.iter().map(|number| number >> digit & 1 == 1)));
        }
        Ok(())
    }

    fn numbers<const N: usize>(&self, path: &str, digits: usize) -> [i32; N] {
        std::array::from_fn(|index| {
            (0..digits)
                .map(|digit| ((self.get(&format!("{path}.{digit}")) >> index & 1) as i32) << digit)
                .sum()
        })
    }

    fn flags<const N: usize>(&self, path: &str) -> [bool; N] {
        let set = self.get(path);
        std::array::from_fn(|index| set >> index & 1 == 1)
    }

    /// The leaves below `prefix`, without it.
    fn below(&self, prefix: &str) -> Leaves {
        let inside = self.0.iter().filter_map(|(path, values)| Some((path.strip_prefix(prefix)?, values)));
        Leaves(inside.map(|(path, values)| (path.to_owned(), values.clone())).collect())
    }

    fn put_below(&mut self, prefix: &str, leaves: Leaves) {
        self.0.extend(leaves.0.into_iter().map(|(path, values)| (format!("{prefix}{path}"), values)));
    }
}

fn set(flags: impl IntoIterator<Item = bool>) -> u64 {
    flags.into_iter().enumerate().map(|(index, flag)| (flag as u64) << index).sum()
}

fn one(cell: Cell) -> u64 {
    1 << cell.index()
}

fn cell_of(set: u64) -> Cell {
    Cell::from_index(set.trailing_zeros() as usize)
}

fn game_to_leaves(game: &Game) -> Result<Leaves> {
    let mut leaves = Leaves::default();
    // What UNDO restores, but with the origins that a snapshot loses.
    let now = Snapshot {
        enemies: game.enemies.clone(),
        transmissions: game.transmissions.clone(),
        ..game.snapshot()
    };
    leaves.put_below("world.", world_to_leaves(&now)?);
    leaves.put("stage", game.stage as u64);
    leaves.put("scheduled_interval", game.scheduled_interval as u64);
    leaves.put("next_scheduled_turn", game.next_scheduled_turn as u64);
    leaves.put("pending_siphon", game.pending_siphon as u64);
    let distance = rules::walking_distance(&game.board, game.player, game.exit);
    leaves.put("distance", distance.unwrap_or(0) as u64);
    leaves.put("dropped", 0);
    leaves.put("step_active", game.step_active as u64);
    leaves.put("exit", one(game.exit));
    let kept = &game.history[game.history.len().saturating_sub(HISTORY)..];
    leaves.put("history.count", kept.len() as u64);
    leaves.put("history.newest", kept.len().saturating_sub(1) as u64);
    let mut ring = vec![0; HISTORY * World::WORDS];
    for (place, snapshot) in kept.iter().enumerate() {
        let words = leaves_to_words(&world_to_leaves(snapshot)?);
        ring[place * World::WORDS..][..World::WORDS].copy_from_slice(&words);
    }
    leaves.0.insert("history.ring".into(), ring);
    Ok(leaves)
}

fn leaves_to_game(leaves: &Leaves) -> Game {
    let now = leaves_to_world(&leaves.below("world."));
    let count = leaves.int("history.count") as usize;
    let newest = leaves.int("history.newest") as usize;
    let history = (0..count).rev().map(|age| {
        let place = (newest + HISTORY - age) % HISTORY;
        let words = &leaves.0["history.ring"][place * World::WORDS..][..World::WORDS];
        leaves_to_world(&words_to_leaves(words))
    });
    Game {
        player: now.player,
        hp: now.hp,
        credits: now.credits,
        energy: now.energy,
        data_siphons: now.data_siphons,
        attack: now.attack,
        score: now.score,
        stage: leaves.int("stage"),
        turn: now.turn,
        show: now.show,
        scheduled_disabled: now.scheduled_disabled,
        step_active: leaves.get("step_active") != 0,
        atk_plus_uses: now.atk_plus_uses,
        scheduled_interval: leaves.int("scheduled_interval"),
        next_scheduled_turn: leaves.int("next_scheduled_turn"),
        pending_siphon: leaves.int("pending_siphon"),
        exit: cell_of(leaves.get("exit")),
        owned: now.owned,
        enemies: now.enemies,
        transmissions: now.transmissions,
        board: now.board,
        history: history.collect(),
    }
}

fn world_to_leaves(world: &Snapshot) -> Result<Leaves> {
    let mut leaves = Leaves::default();
    leaves.put("player", one(world.player));
    leaves.put("hp", world.hp as u64);
    leaves.put("credits", world.credits as u64);
    leaves.put("energy", world.energy as u64);
    leaves.put("data_siphons", world.data_siphons as u64);
    leaves.put("attack", world.attack as u64);
    leaves.put("score", world.score as u64);
    leaves.put("turn", world.turn as u64);
    leaves.put("atk_plus_uses", world.atk_plus_uses as u64);
    leaves.put("show", world.show as u64);
    leaves.put("scheduled_disabled", world.scheduled_disabled as u64);
    leaves.put("owned", world.owned.iter().map(|program| 1 << program).sum());
    leaves.put_below("board.", board_to_leaves(&world.board)?);

    let enemies = &world.enemies;
    let entries = enemies.iter().map(|e| (e.kind, e.at, e.from_siphon, e.from_scheduled));
    leaves.put_below("enemies.list.", list_to_leaves(entries)?);
    leaves.put_numbers("enemies.hp", digits::HP, &enemies.iter().map(|e| e.hp).collect::<Vec<_>>())?;
    ensure!(
        enemies.iter().all(|e| (0..=1).contains(&e.disabled_turns)),
        "an enemy is disabled for several turns"
    );
    leaves.put("enemies.disabled", set(enemies.iter().map(|e| e.disabled_turns == 1)));
    leaves.put("enemies.stunned", set(enemies.iter().map(|e| e.stunned)));

    let transmissions = &world.transmissions;
    let entries = transmissions.iter().map(|t| (t.kind, t.at, t.from_siphon, t.from_scheduled));
    leaves.put_below("transmissions.list.", list_to_leaves(entries)?);
    let turns: Vec<i32> = transmissions.iter().map(|t| t.turns).collect();
    leaves.put_numbers("transmissions.turns", digits::TURNS, &turns)?;
    Ok(leaves)
}

fn leaves_to_world(leaves: &Leaves) -> Snapshot {
    let hp = leaves.numbers::<64>("enemies.hp", digits::HP);
    let (disabled, stunned) = (leaves.flags::<64>("enemies.disabled"), leaves.flags::<64>("enemies.stunned"));
    let turns = leaves.numbers::<64>("transmissions.turns", digits::TURNS);
    let enemies = leaves_to_list(&leaves.below("enemies.list.")).into_iter();
    let transmissions = leaves_to_list(&leaves.below("transmissions.list.")).into_iter();
    Snapshot {
        player: cell_of(leaves.get("player")),
        hp: leaves.int("hp"),
        credits: leaves.int("credits"),
        energy: leaves.int("energy"),
        data_siphons: leaves.int("data_siphons"),
        attack: leaves.int("attack"),
        score: leaves.int("score"),
        turn: leaves.int("turn"),
        show: leaves.get("show") != 0,
        scheduled_disabled: leaves.get("scheduled_disabled") != 0,
        atk_plus_uses: leaves.int("atk_plus_uses"),
        owned: (0..64).filter(|program| leaves.get("owned") >> program & 1 == 1).collect(),
        enemies: enemies
            .map(|(slot, kind, at, from_siphon, from_scheduled)| Enemy {
                kind,
                at,
                hp: hp[slot],
                disabled_turns: disabled[slot] as i32,
                stunned: stunned[slot],
                from_siphon,
                from_scheduled,
                hint: None,
            })
            .collect(),
        transmissions: transmissions
            .map(|(slot, kind, at, from_siphon, from_scheduled)| Transmission {
                kind,
                at,
                turns: turns[slot],
                from_siphon,
                from_scheduled,
            })
            .collect(),
        board: leaves_to_board(&leaves.below("board.")),
    }
}

fn list_to_leaves(entries: impl Iterator<Item = (EnemyType, Cell, bool, bool)>) -> Result<Leaves> {
    let entries: Vec<_> = entries.collect();
    ensure!(entries.len() <= SLOTS, "{} enemies or transmissions; there is room for {SLOTS}", entries.len());
    let numbers = |of: fn(&(EnemyType, Cell, bool, bool)) -> i32| entries.iter().map(of).collect::<Vec<_>>();
    let mut leaves = Leaves::default();
    leaves.put("alive", set(entries.iter().map(|_| true)));
    leaves.put_numbers("row", 3, &numbers(|entry| entry.1.row))?;
    leaves.put_numbers("col", 3, &numbers(|entry| entry.1.col))?;
    leaves.put_numbers("kind", 2, &numbers(|entry| entry.0 as i32))?;
    leaves.put("from_siphon", set(entries.iter().map(|entry| entry.2)));
    leaves.put("from_scheduled", set(entries.iter().map(|entry| entry.3)));
    Ok(leaves)
}

/// Slot, type, cell and origin of each entry.
fn leaves_to_list(leaves: &Leaves) -> Vec<(usize, EnemyType, Cell, bool, bool)> {
    let [row, col, kind] =
        [("row", 3), ("col", 3), ("kind", 2)].map(|(path, digits)| leaves.numbers::<64>(path, digits));
    let [siphon, scheduled] = ["from_siphon", "from_scheduled"].map(|path| leaves.flags::<64>(path));
    let alive = leaves.flags::<64>("alive");
    let slots = (0..64).filter(|&slot| alive[slot]);
    slots
        .map(|slot| {
            let at = Cell::new(row[slot], col[slot]);
            (slot, EnemyType::ALL[kind[slot] as usize], at, siphon[slot], scheduled[slot])
        })
        .collect()
}

fn board_to_leaves(board: &Board) -> Result<Leaves> {
    let mut leaves = Leaves::default();
    let kinds = board.block_type.0;
    leaves.put("blocks", set(kinds.map(|kind| kind != block::NONE)));
    leaves.put("data", set(Cell::all().map(|cell| board.has_block(cell) && board.holds_data(cell))));
    leaves.put("question", set(kinds.map(|kind| kind == block::QUESTION)));
    let values: Vec<i32> = Cell::all()
        .map(|cell| match board.holds_data(cell) {
            true => board.block_points[cell],
            false => board.block_program[cell],
        })
        .collect();
    leaves.put_numbers("value", digits::VALUE, &values)?;
    leaves.put_numbers("spawn", digits::SPAWN, &board.block_spawn.0)?;
    leaves.put("siphoned", set(board.siphoned.0));
    leaves.put("centers", set(board.siphon_center.0));
    leaves.put_numbers("credits", digits::RESOURCE, &board.res_credits.0)?;
    leaves.put_numbers("energy", digits::RESOURCE, &board.res_energy.0)?;
    leaves.put("pickups", set(board.data_siphon.0));
    leaves.put("exit", set(board.exit_cell.0));
    Ok(leaves)
}

fn leaves_to_board(leaves: &Leaves) -> Board {
    let [blocks, data, question] = ["blocks", "data", "question"].map(|path| leaves.flags::<36>(path));
    let value = leaves.numbers::<36>("value", digits::VALUE);
    let mut board = Board {
        block_spawn: Grid(leaves.numbers("spawn", digits::SPAWN)),
        siphoned: Grid(leaves.flags("siphoned")),
        siphon_center: Grid(leaves.flags("centers")),
        res_credits: Grid(leaves.numbers("credits", digits::RESOURCE)),
        res_energy: Grid(leaves.numbers("energy", digits::RESOURCE)),
        data_siphon: Grid(leaves.flags("pickups")),
        exit_cell: Grid(leaves.flags("exit")),
        ..Board::default()
    };
    for cell in Cell::all() {
        let index = cell.index();
        board.block_type[cell] = match (blocks[index], question[index], data[index]) {
            (false, ..) => block::NONE,
            (_, true, _) => block::QUESTION,
            (_, _, true) => block::DATA,
            (_, _, false) => block::PROGRAM,
        };
        board.question_is_data[cell] = question[index] && data[index];
        board.block_points[cell] = if data[index] { value[index] } else { 0 };
        board.block_program[cell] = if data[index] { 0 } else { value[index] };
    }
    board
}

/// A part of a snapshot's word: the leaf, the lowest bit, the number of bits.
type Part = (String, u32, u32);

/// The parts of each word, as [`World::to_words`] packs them.
fn word_parts() -> Vec<Vec<Part>> {
    let part = |path: &str, shift, bits| (path.to_owned(), shift, bits);
    let mut words = vec![
        vec![part("player", 0, 64)],
        vec![part("credits", 0, 32), part("energy", 32, 32)],
        vec![part("data_siphons", 0, 32), part("attack", 32, 32)],
        vec![part("score", 0, 32), part("turn", 32, 32)],
        vec![
            part("owned", 0, 32),
            part("show", 32, 1),
            part("scheduled_disabled", 33, 1),
            part("atk_plus_uses", 34, 14),
            part("hp", 48, 16),
        ],
    ];
    let mut sets = |path: &str, digits: usize| match digits {
        0 => words.push(vec![part(path, 0, 64)]),
        _ => words.extend((0..digits).map(|digit| vec![part(&format!("{path}.{digit}"), 0, 64)])),
    };
    for (path, digits) in
        [("blocks", 0), ("data", 0), ("question", 0), ("value", digits::VALUE), ("spawn", digits::SPAWN)]
    {
        sets(&format!("board.{path}"), digits);
    }
    for (path, digits) in [
        ("siphoned", 0),
        ("centers", 0),
        ("credits", digits::RESOURCE),
        ("energy", digits::RESOURCE),
        ("pickups", 0),
        ("exit", 0),
    ] {
        sets(&format!("board.{path}"), digits);
    }
    for list in ["enemies", "transmissions"] {
        for (path, digits) in [("alive", 0), ("row", 3), ("col", 3), ("kind", 2)] {
            sets(&format!("{list}.list.{path}"), digits);
        }
    }
    sets("enemies.hp", digits::HP);
    sets("enemies.disabled", 0);
    sets("transmissions.turns", digits::TURNS);
    words
}

fn leaves_to_words(leaves: &Leaves) -> Vec<u64> {
    let words = word_parts().into_iter();
    words.map(|parts| parts.iter().map(|(path, shift, _)| leaves.get(path) << shift).sum()).collect()
}

/// The leaves of a snapshot; those that it does not keep are 0.
fn words_to_leaves(words: &[u64]) -> Leaves {
    let mut leaves = Leaves::default();
    for (parts, word) in word_parts().into_iter().zip(words) {
        for (path, shift, bits) in parts {
            leaves.put(path, word >> shift & (u64::MAX >> (64 - bits)));
        }
    }
    for lost in ["enemies.stunned", "enemies.list.from_siphon", "enemies.list.from_scheduled"] {
        leaves.put(lost, 0);
    }
    for lost in ["transmissions.list.from_siphon", "transmissions.list.from_scheduled"] {
        leaves.put(lost, 0);
    }
    leaves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::hackmatrix::host::golden;
    use std::path::Path;

    #[test]
    fn every_golden_state_survives_the_round_trip() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/jax_env_spec/hackmatrix/golden.jsonl.gz");
        let records = golden::read_file(Path::new(file)).unwrap();
        let mut games: Vec<Game> = records.into_iter().map(|record| record.before).collect();
        let converter = Converter::new();
        let arrays = converter.to_arrays(&games).unwrap();
        for game in &mut games {
            game.owned.sort();
            game.enemies.iter_mut().for_each(|enemy| enemy.hint = None);
            for snapshot in &mut game.history {
                snapshot.owned.sort();
                snapshot.enemies.iter_mut().for_each(|enemy| enemy.hint = None);
            }
        }
        let named = converter.named(arrays);
        for (before, after) in games.iter().zip(converter.from_arrays(named)) {
            assert_eq!(*before, after);
        }
    }

    #[test]
    fn a_game_with_too_many_enemies_is_an_error() {
        let mut game = Game::empty(Cell::new(0, 0), Cell::new(5, 5));
        let enemy = Enemy {
            kind: EnemyType::Virus,
            at: Cell::new(1, 1),
            hp: 1,
            disabled_turns: 0,
            stunned: false,
            from_siphon: false,
            from_scheduled: false,
            hint: None,
        };
        game.enemies = vec![enemy; 65];
        let error = Converter::new().to_arrays(&[game]).unwrap_err().to_string();
        assert_eq!(error, "65 enemies or transmissions; there is room for 64");
    }
}
