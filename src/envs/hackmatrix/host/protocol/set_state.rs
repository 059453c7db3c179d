//! The state that a client sets, and the game that it means.
//!
//! A given state says little: whatever it leaves out is zero or empty, and three things are fixed
//! whatever it says: the exit is (5, 5), the scheduled interval 12, and the next scheduled turn 12.
//!
//! Every number has bounds: those of the sets in which the compiled game keeps it, or what keeps every sum of the rules inside 32
//! bits. A state beyond them is refused with the name of the field, so that a game that was accepted can be played.

use std::fmt::Display;

use serde::Deserialize;

use crate::envs::hackmatrix::host::digits::{self, largest};
use crate::envs::hackmatrix::host::layout::{FIRST_PROGRAM, PROGRAMS, STAGES, layout};
use crate::envs::hackmatrix::host::{Board, Cell, Enemy, EnemyType, Game, SLOTS, Transmission, block};

/// The largest of the numbers that have no set of their own.
const LARGEST: i32 = 1_000_000;

/// A state that a client sets, as JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GivenState {
    player: GivenPlayer,
    enemies: Option<Vec<GivenEnemy>>,
    transmissions: Option<Vec<GivenTransmission>>,
    blocks: Option<Vec<GivenBlock>>,
    resources: Option<Vec<GivenResource>>,
    owned_programs: Option<Vec<i64>>,
    stage: Option<i64>,
    turn: Option<i64>,
    show_activated: Option<bool>,
    scheduled_tasks_disabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenPlayer {
    row: i64,
    col: i64,
    hp: Option<i64>,
    credits: Option<i64>,
    energy: Option<i64>,
    data_siphons: Option<i64>,
    attack_damage: Option<i64>,
    score: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenEnemy {
    #[serde(rename = "type")]
    kind: String,
    row: i64,
    col: i64,
    hp: i64,
    stunned: Option<bool>,
    spawned_from_siphon: Option<bool>,
    is_from_scheduled_task: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenTransmission {
    row: i64,
    col: i64,
    turns_remaining: i64,
    enemy_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenBlock {
    row: i64,
    col: i64,
    #[serde(rename = "type")]
    kind: String,
    points: Option<i64>,
    spawn_count: Option<i64>,
    siphoned: Option<bool>,
    program_type: Option<String>,
    program_action_index: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenResource {
    row: i64,
    col: i64,
    credits: Option<i64>,
    energy: Option<i64>,
    data_siphon: Option<bool>,
}

/// The number that was given, if it is from `least` to `most`; else what is wrong with the field.
fn bounded(field: impl Display, given: i64, least: i32, most: i32) -> Result<i32, String> {
    let fits = i32::try_from(given).ok().filter(|number| (least..=most).contains(number));
    fits.ok_or_else(|| format!("{field} is {given}; it must be from {least} to {most}"))
}

/// As [`bounded`] from 0, or the default where nothing was given.
fn or(field: impl Display, given: Option<i64>, default: i32, most: i32) -> Result<i32, String> {
    given.map_or(Ok(default), |given| bounded(field, given, 0, most))
}

/// The cell, if it is on the board.
fn cell(row: i64, col: i64) -> Option<Cell> {
    Cell::checked(row.try_into().ok()?, col.try_into().ok()?)
}

fn on_board(what: &str, row: i64, col: i64) -> Result<Cell, String> {
    cell(row, col).ok_or_else(|| format!("{what}: ({row}, {col}) is outside the 6x6 board"))
}

fn room_for<T>(field: &str, entries: Vec<T>) -> Result<Vec<T>, String> {
    match entries.len() {
        count if count > SLOTS => Err(format!("{field} has {count} entries; there is room for {SLOTS}")),
        _ => Ok(entries),
    }
}

impl GivenState {
    /// The game that the state means. Unlike the original, which does not check positions, an entity
    /// outside the board is an error, as are a stage and a program that do not exist.
    ///
    /// # Errors
    /// One line with the name of the field.
    pub(super) fn into_game(self) -> Result<Game, String> {
        let exit = Cell::new(5, 5);
        let player = self.player;
        let mut game = Game::empty(on_board("player", player.row, player.col)?, exit);
        // As in the original, an hp that does not exist becomes 3.
        game.hp = player.hp.and_then(|hp| bounded("player.hp", hp, 0, 3).ok()).unwrap_or(3);
        game.credits = or("player.credits", player.credits, 0, LARGEST)?;
        game.energy = or("player.energy", player.energy, 0, LARGEST)?;
        game.data_siphons = or("player.dataSiphons", player.data_siphons, 0, LARGEST)?;
        game.attack = bounded("player.attackDamage", player.attack_damage.unwrap_or(1), 1, LARGEST)?;
        game.score = or("player.score", player.score, 0, LARGEST)?;
        game.stage = bounded("stage", self.stage.unwrap_or(1), 1, STAGES)?;
        game.turn = or("turn", self.turn, 0, LARGEST)?;
        game.show = self.show_activated.unwrap_or(false);
        game.scheduled_disabled = self.scheduled_tasks_disabled.unwrap_or(false);
        for (i, program) in self.owned_programs.unwrap_or_default().into_iter().enumerate() {
            let program = owned_program(&format!("ownedPrograms[{i}]"), program)?;
            if !game.owned.contains(&program) {
                game.owned.push(program);
            }
        }
        for (i, given) in self.enemies.unwrap_or_default().into_iter().enumerate() {
            game.enemies.extend(given.into_enemy(&format!("enemies[{i}]"))?);
        }
        for (i, given) in self.transmissions.unwrap_or_default().into_iter().enumerate() {
            game.transmissions.extend(given.into_transmission(&format!("transmissions[{i}]"))?);
        }
        game.enemies = room_for("enemies", game.enemies)?;
        game.transmissions = room_for("transmissions", game.transmissions)?;
        let board = &mut game.board;
        for (i, given) in self.blocks.unwrap_or_default().into_iter().enumerate() {
            given.place(&format!("blocks[{i}]"), board)?;
        }
        for (i, given) in self.resources.unwrap_or_default().into_iter().enumerate() {
            given.place(&format!("resources[{i}]"), board)?;
        }
        board.clear_block(exit);
        board.data_siphon[exit] = false;
        Ok(game)
    }
}

fn owned_program(field: &str, action: i64) -> Result<usize, String> {
    let (first, last) = (FIRST_PROGRAM as i32, (FIRST_PROGRAM + PROGRAMS) as i32 - 1);
    Ok(bounded(field, action, first, last)? as usize - FIRST_PROGRAM)
}

/// The type with this name in any case, if there is one.
fn enemy_type(name: &str) -> Option<EnemyType> {
    EnemyType::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
}

impl GivenEnemy {
    /// The enemy, or nothing if its type is unknown.
    fn into_enemy(self, field: &str) -> Result<Option<Enemy>, String> {
        let at = on_board(field, self.row, self.col)?;
        let Some(kind) = enemy_type(&self.kind) else { return Ok(None) };
        Ok(Some(Enemy {
            kind,
            at,
            hp: bounded(format!("{field}.hp"), self.hp, 1, kind.max_hp())?,
            disabled_turns: 0,
            stunned: self.stunned.unwrap_or(false),
            from_siphon: self.spawned_from_siphon.unwrap_or(false),
            from_scheduled: self.is_from_scheduled_task.unwrap_or(false),
            hint: (kind == EnemyType::Cryptog).then_some(at),
        }))
    }
}

impl GivenTransmission {
    /// The transmission, or nothing if its type is unknown.
    fn into_transmission(self, field: &str) -> Result<Option<Transmission>, String> {
        let at = on_board(field, self.row, self.col)?;
        let Some(kind) = enemy_type(&self.enemy_type) else { return Ok(None) };
        let field = format!("{field}.turnsRemaining");
        Ok(Some(Transmission {
            kind,
            at,
            turns: bounded(field, self.turns_remaining, 1, largest(digits::TURNS))?,
            from_siphon: false,
            from_scheduled: false,
        }))
    }
}

impl GivenBlock {
    /// Places the block; one outside the board or of another kind is skipped.
    fn place(self, field: &str, board: &mut Board) -> Result<(), String> {
        let Some(cell) = cell(self.row, self.col) else { return Ok(()) };
        if self.siphoned == Some(true) {
            board.siphoned[cell] = true;
        }
        let spawn_count = |default: i32| {
            let given = self.spawn_count.unwrap_or(i64::from(default));
            bounded(format!("{field}.spawnCount"), given, 0, largest(digits::SPAWN))
        };
        match self.kind.as_str() {
            "data" => {
                board.clear_block(cell);
                board.block_type[cell] = block::DATA;
                board.block_points[cell] =
                    or(format!("{field}.points"), self.points, 5, largest(digits::VALUE))?;
                board.block_spawn[cell] = spawn_count(board.block_points[cell])?;
            }
            "program" => {
                if let Some(program) = self.program() {
                    board.clear_block(cell);
                    board.block_type[cell] = block::PROGRAM;
                    board.block_program[cell] = program as i32;
                    board.block_spawn[cell] = spawn_count(2)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The program by name, or else by action.
    fn program(&self) -> Option<usize> {
        let by_name = self.program_type.as_deref().and_then(program_spelled);
        by_name.or_else(|| owned_program("programActionIndex", self.program_action_index?).ok())
    }
}

/// The program with this name in some spelling: `SIPH+`, `siphplus`, `anti_v`, `d_bomb`, ...
fn program_spelled(name: &str) -> Option<usize> {
    let plain = |name: &str| {
        let name = name.to_lowercase().replace(['-', '_'], "").replace('+', "plus");
        if name == "dbomb" { "dbom".to_string() } else { name }
    };
    layout().programs.iter().position(|program| plain(&program.raw) == plain(name))
}

impl GivenResource {
    /// Places a pickup, which replaces a block and has neither credits nor energy, or else those; outside the board nothing.
    fn place(self, field: &str, board: &mut Board) -> Result<(), String> {
        let Some(cell) = cell(self.row, self.col) else { return Ok(()) };
        if self.data_siphon == Some(true) {
            board.clear_block(cell);
            board.data_siphon[cell] = true;
            return Ok(());
        }
        let most = largest(digits::RESOURCE);
        let credits = or(format!("{field}.credits"), self.credits, 0, most)?;
        let energy = or(format!("{field}.energy"), self.energy, 0, most)?;
        if credits > 0 {
            (board.res_credits[cell], board.res_energy[cell]) = (credits, 0);
        } else if energy > 0 {
            (board.res_credits[cell], board.res_energy[cell]) = (0, energy);
        }
        Ok(())
    }
}
