//! The state that a client sets, and the game that it means.
//!
//! A given state says little: whatever it leaves out is zero or empty, and three things are fixed
//! whatever it says: the exit is (5, 5), the scheduled interval 12, and the next scheduled turn 12.

use serde::Deserialize;

use crate::envs::hackmatrix::host::layout::{FIRST_PROGRAM, PROGRAMS, STAGES, layout};
use crate::envs::hackmatrix::host::{Board, Cell, Enemy, EnemyType, Game, Transmission, block};

/// A number of a given state. The bound keeps every sum of the rules inside 32 bits.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
struct Number(i32);

impl TryFrom<i64> for Number {
    type Error = String;
    fn try_from(value: i64) -> Result<Number, String> {
        let small = value.abs() <= 1_000_000;
        if small { Ok(Number(value as i32)) } else { Err(format!("{value} is too large")) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GivenState {
    player: GivenPlayer,
    enemies: Option<Vec<GivenEnemy>>,
    transmissions: Option<Vec<GivenTransmission>>,
    blocks: Option<Vec<GivenBlock>>,
    resources: Option<Vec<GivenResource>>,
    owned_programs: Option<Vec<Number>>,
    stage: Option<Number>,
    turn: Option<Number>,
    show_activated: Option<bool>,
    scheduled_tasks_disabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenPlayer {
    row: Number,
    col: Number,
    hp: Option<Number>,
    credits: Option<Number>,
    energy: Option<Number>,
    data_siphons: Option<Number>,
    attack_damage: Option<Number>,
    score: Option<Number>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenEnemy {
    #[serde(rename = "type")]
    kind: String,
    row: Number,
    col: Number,
    hp: Number,
    stunned: Option<bool>,
    spawned_from_siphon: Option<bool>,
    is_from_scheduled_task: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenTransmission {
    row: Number,
    col: Number,
    turns_remaining: Number,
    enemy_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenBlock {
    row: Number,
    col: Number,
    #[serde(rename = "type")]
    kind: String,
    points: Option<Number>,
    spawn_count: Option<Number>,
    siphoned: Option<bool>,
    program_type: Option<String>,
    program_action_index: Option<Number>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenResource {
    row: Number,
    col: Number,
    credits: Option<Number>,
    energy: Option<Number>,
    data_siphon: Option<bool>,
}

fn or(given: Option<Number>, default: i32) -> i32 {
    given.map_or(default, |number| number.0)
}

fn on_board(what: &str, row: Number, col: Number) -> Result<Cell, String> {
    Cell::try_from([row.0, col.0]).map_err(|problem| format!("the {what}'s cell {problem}"))
}

impl GivenState {
    /// The game that the state means. Unlike the original, which does not check positions, an entity
    /// outside the board is an error, as are a stage and a program that do not exist.
    pub(super) fn into_game(self) -> Result<Game, String> {
        let exit = Cell::new(5, 5);
        let player = self.player;
        let mut game = Game::empty(on_board("player", player.row, player.col)?, exit);
        game.hp = Some(or(player.hp, 3)).filter(|hp| (0..=3).contains(hp)).unwrap_or(3);
        game.credits = or(player.credits, 0);
        game.energy = or(player.energy, 0);
        game.data_siphons = or(player.data_siphons, 0);
        game.attack = or(player.attack_damage, 1);
        game.score = or(player.score, 0);
        game.stage = or(self.stage, 1);
        if !(1..=STAGES).contains(&game.stage) {
            return Err(format!("stage {} is not 1..8", game.stage));
        }
        game.turn = or(self.turn, 0);
        game.show = self.show_activated.unwrap_or(false);
        game.scheduled_disabled = self.scheduled_tasks_disabled.unwrap_or(false);
        for program in self.owned_programs.unwrap_or_default() {
            let program = owned_program(program.0)?;
            if !game.owned.contains(&program) {
                game.owned.push(program);
            }
        }
        for given in self.enemies.unwrap_or_default() {
            game.enemies.extend(given.into_enemy()?);
        }
        for given in self.transmissions.unwrap_or_default() {
            game.transmissions.extend(given.into_transmission()?);
        }
        let board = &mut game.board;
        self.blocks.unwrap_or_default().into_iter().for_each(|given| given.place(board));
        self.resources.unwrap_or_default().into_iter().for_each(|given| given.place(board));
        board.clear_block(exit);
        board.data_siphon[exit] = false;
        Ok(game)
    }
}

fn owned_program(action: i32) -> Result<usize, String> {
    let program = usize::try_from(action).ok().and_then(|action| action.checked_sub(FIRST_PROGRAM));
    program
        .filter(|&program| program < PROGRAMS)
        .ok_or_else(|| format!("owned program {action} is not an action 5..27"))
}

/// The type with this name in any case, if there is one.
fn enemy_type(name: &str) -> Option<EnemyType> {
    EnemyType::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
}

impl GivenEnemy {
    /// The enemy, or nothing if its type is unknown.
    fn into_enemy(self) -> Result<Option<Enemy>, String> {
        let at = on_board("enemy", self.row, self.col)?;
        Ok(enemy_type(&self.kind).map(|kind| Enemy {
            kind,
            at,
            hp: self.hp.0,
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
    fn into_transmission(self) -> Result<Option<Transmission>, String> {
        let at = on_board("transmission", self.row, self.col)?;
        Ok(enemy_type(&self.enemy_type).map(|kind| Transmission {
            kind,
            at,
            turns: self.turns_remaining.0,
            from_siphon: false,
            from_scheduled: false,
        }))
    }
}

impl GivenBlock {
    /// Places the block; one outside the board or of another kind is skipped.
    fn place(self, board: &mut Board) {
        let Some(cell) = Cell::checked(self.row.0, self.col.0) else {
            return;
        };
        if self.siphoned == Some(true) {
            board.siphoned[cell] = true;
        }
        match self.kind.as_str() {
            "data" => {
                board.clear_block(cell);
                board.block_type[cell] = block::DATA;
                board.block_points[cell] = or(self.points, 5);
                board.block_spawn[cell] = or(self.spawn_count, board.block_points[cell]);
            }
            "program" => {
                if let Some(program) = self.program() {
                    board.clear_block(cell);
                    board.block_type[cell] = block::PROGRAM;
                    board.block_program[cell] = program as i32;
                    board.block_spawn[cell] = or(self.spawn_count, 2);
                }
            }
            _ => {}
        }
    }

    /// The program by name, or else by action.
    fn program(&self) -> Option<usize> {
        let by_name = self.program_type.as_deref().and_then(program_spelled);
        by_name.or_else(|| owned_program(self.program_action_index?.0).ok())
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
    /// Places a pickup, which replaces a block, or else credits or energy; outside the board nothing.
    fn place(self, board: &mut Board) {
        let Some(cell) = Cell::checked(self.row.0, self.col.0) else {
            return;
        };
        if self.data_siphon == Some(true) {
            board.clear_block(cell);
            board.data_siphon[cell] = true;
        } else if or(self.credits, 0) > 0 {
            board.res_credits[cell] = or(self.credits, 0);
            board.res_energy[cell] = 0;
        } else if or(self.energy, 0) > 0 {
            board.res_energy[cell] = or(self.energy, 0);
            board.res_credits[cell] = 0;
        }
    }
}
