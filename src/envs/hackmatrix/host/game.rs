//! One complete state of the game, in the words of the rules.
//!
//! The serde form of [`Game`] is the state format of the golden transitions (see `numbers`).

use std::array;

use serde::{Deserialize, Serialize};

use super::cell::{Cell, Grid};
use super::cell_numbers::bit;

/// Binary digits of the numbers that the traced game keeps as one set for each digit, so that a game can hold numbers below
/// 2^digits. Each digit of a cell costs every environment a word, and more in each snapshot.
pub mod digits {
    /// Points of a data block, or the program of a program block.
    pub const VALUE: usize = 5;
    /// Transmissions that a block spawns.
    pub const SPAWN: usize = 4;
    /// Credits of a cell, and its energy.
    pub const RESOURCE: usize = 2;
    /// Hit points of an enemy.
    pub const HP: usize = 2;
    /// Turns until a transmission arrives. DELAY could count beyond 255; the number then stays there.
    pub const TURNS: usize = 8;

    /// The largest number of so many digits.
    pub const fn largest(digits: usize) -> i32 {
        (1 << digits) - 1
    }
}

/// Enemies that a game can hold, and transmissions.
pub const SLOTS: usize = 64;

/// The kinds of enemies; `as i32` gives the number used in states and observations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EnemyType {
    Virus = 0,
    Daemon = 1,
    Glitch = 2,
    Cryptog = 3,
}

impl EnemyType {
    pub const ALL: [EnemyType; 4] =
        [EnemyType::Virus, EnemyType::Daemon, EnemyType::Glitch, EnemyType::Cryptog];

    /// The name in the JSON protocol.
    pub fn name(self) -> &'static str {
        ["virus", "daemon", "glitch", "cryptog"][self as usize]
    }

    pub fn max_hp(self) -> i32 {
        if self == EnemyType::Daemon { 3 } else { 2 }
    }

    /// Actions in one enemy turn.
    pub fn speed(self) -> i32 {
        if self == EnemyType::Virus { 2 } else { 1 }
    }

    /// Whether it may stand on and walk over blocks.
    pub fn walks_on_blocks(self) -> bool {
        self == EnemyType::Glitch
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "[i32; 10]", into = "[i32; 10]")]
pub struct Enemy {
    pub kind: EnemyType,
    pub at: Cell,
    pub hp: i32,
    pub disabled_turns: i32,
    pub stunned: bool,
    pub from_siphon: bool,
    pub from_scheduled: bool,
    /// Where a cryptog was last seen. A hint for people; no rule reads it.
    pub hint: Option<Cell>,
}

/// An enemy on its way: it appears on its cell when `turns` runs out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "[i32; 6]", into = "[i32; 6]")]
pub struct Transmission {
    pub kind: EnemyType,
    pub at: Cell,
    pub turns: i32,
    pub from_siphon: bool,
    pub from_scheduled: bool,
}

/// Values of [`Board::block_type`].
pub mod block {
    pub const NONE: i32 = 0;
    pub const DATA: i32 = 1;
    pub const PROGRAM: i32 = 2;
    /// A block that hides whether it is data or a program until it is siphoned.
    pub const QUESTION: i32 = 3;
}

/// Everything that belongs to cells rather than to the player or the enemies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board {
    /// One of the constants in [`block`].
    pub block_type: Grid<i32>,
    /// The hidden kind of a question block; false everywhere else.
    pub question_is_data: Grid<bool>,
    /// Points of a (hidden) data block, else 0.
    pub block_points: Grid<i32>,
    /// Program index of a (hidden) program block, else 0.
    pub block_program: Grid<i32>,
    /// Transmissions that siphoning the block queues.
    pub block_spawn: Grid<i32>,
    /// The cell was siphoned; outlives the block.
    pub siphoned: Grid<bool>,
    /// The player stood here when siphoning.
    pub siphon_center: Grid<bool>,
    pub res_credits: Grid<i32>,
    pub res_energy: Grid<i32>,
    /// A data siphon to pick up.
    pub data_siphon: Grid<bool>,
    pub exit_cell: Grid<bool>,
}

impl Board {
    pub fn has_block(&self, cell: Cell) -> bool {
        self.block_type[cell] != block::NONE
    }

    /// Whether credits and energy of the cell can be seen: a block hides them until it is siphoned.
    pub fn resource_visible(&self, cell: Cell) -> bool {
        !self.has_block(cell) || self.siphoned[cell]
    }

    /// Whether the block, which may be a question, holds data.
    pub fn holds_data(&self, cell: Cell) -> bool {
        match self.block_type[cell] {
            block::QUESTION => self.question_is_data[cell],
            kind => kind == block::DATA,
        }
    }

    /// Turns a question block into what it hides.
    pub fn reveal(&mut self, cell: Cell) {
        if self.block_type[cell] == block::QUESTION {
            self.block_type[cell] = if self.question_is_data[cell] { block::DATA } else { block::PROGRAM };
            self.question_is_data[cell] = false;
        }
    }

    /// Removes the block and leaves everything else of the cell.
    pub fn clear_block(&mut self, cell: Cell) {
        self.block_type[cell] = block::NONE;
        self.question_is_data[cell] = false;
        self.block_points[cell] = 0;
        self.block_program[cell] = 0;
        self.block_spawn[cell] = 0;
    }
}

/// What UNDO restores. Origin flags of enemies and transmissions are not kept: they are false.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub player: Cell,
    pub hp: i32,
    pub credits: i32,
    pub energy: i32,
    pub data_siphons: i32,
    pub attack: i32,
    pub score: i32,
    pub turn: i32,
    #[serde(with = "bit")]
    pub show: bool,
    #[serde(with = "bit")]
    pub scheduled_disabled: bool,
    pub atk_plus_uses: i32,
    pub owned: Vec<usize>,
    pub enemies: Vec<Enemy>,
    pub transmissions: Vec<Transmission>,
    #[serde(flatten)]
    pub board: Board,
}

/// One complete state of the game.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Game {
    pub player: Cell,
    pub hp: i32,
    pub credits: i32,
    pub energy: i32,
    pub data_siphons: i32,
    /// Damage of one attack.
    pub attack: i32,
    pub score: i32,
    /// 1..=8; stays 8 after a victory.
    pub stage: i32,
    /// Enemy turns in this stage.
    pub turn: i32,
    #[serde(with = "bit")]
    pub show: bool,
    /// CALM is in effect: no scheduled transmissions in this stage.
    #[serde(with = "bit")]
    pub scheduled_disabled: bool,
    /// STEP is in effect: the next enemy turn is left out.
    #[serde(with = "bit")]
    pub step_active: bool,
    pub atk_plus_uses: i32,
    pub scheduled_interval: i32,
    pub next_scheduled_turn: i32,
    /// Siphon transmissions that wait for the end of the next enemy turn.
    pub pending_siphon: i32,
    /// The exit that WARP and the distance reward mean. It differs from `board.exit_cell` only after
    /// an UNDO across a stage change.
    pub exit: Cell,
    /// Program indices (0..=22) in order of acquisition.
    pub owned: Vec<usize>,
    /// In list order, which some rules depend on.
    pub enemies: Vec<Enemy>,
    /// In list order.
    pub transmissions: Vec<Transmission>,
    #[serde(flatten)]
    pub board: Board,
    /// The stack that UNDO pops, oldest first.
    pub history: Vec<Snapshot>,
}

impl Game {
    /// A game on stage 1 with an empty board: the player and nothing else.
    pub fn empty(player: Cell, exit: Cell) -> Game {
        let mut board = Board::default();
        board.exit_cell[exit] = true;
        Game {
            player,
            hp: 3,
            credits: 0,
            energy: 0,
            data_siphons: 0,
            attack: 1,
            score: 0,
            stage: 1,
            turn: 0,
            show: false,
            scheduled_disabled: false,
            step_active: false,
            atk_plus_uses: 0,
            scheduled_interval: 12,
            next_scheduled_turn: 12,
            pending_siphon: 0,
            exit,
            owned: Vec::new(),
            enemies: Vec::new(),
            transmissions: Vec::new(),
            board,
            history: Vec::new(),
        }
    }

    /// The first enemy in list order on a cell.
    pub fn enemy_at(&self, cell: Cell) -> Option<&Enemy> {
        self.enemies.iter().find(|enemy| enemy.at == cell)
    }

    pub fn transmission_at(&self, cell: Cell) -> Option<&Transmission> {
        self.transmissions.iter().find(|transmission| transmission.at == cell)
    }

    /// The enemy that a cell shows: the first living one, unless it is a cryptog in hiding.
    pub fn visible_enemy(&self, cell: Cell) -> Option<&Enemy> {
        let first = self.enemies.iter().find(|enemy| enemy.at == cell && enemy.hp > 0);
        first.filter(|enemy| !self.is_hidden(enemy))
    }

    /// Whether an enemy is a cryptog that cannot be seen.
    pub fn is_hidden(&self, enemy: &Enemy) -> bool {
        enemy.kind == EnemyType::Cryptog && !self.show && !enemy.at.in_line_with(self.player)
    }

    /// What the end of an enemy turn puts on the UNDO stack.
    pub fn snapshot(&self) -> Snapshot {
        let mut enemies = self.enemies.clone();
        for enemy in &mut enemies {
            (enemy.from_siphon, enemy.from_scheduled) = (false, false);
        }
        let mut transmissions = self.transmissions.clone();
        for transmission in &mut transmissions {
            (transmission.from_siphon, transmission.from_scheduled) = (false, false);
        }
        Snapshot {
            player: self.player,
            hp: self.hp,
            credits: self.credits,
            energy: self.energy,
            data_siphons: self.data_siphons,
            attack: self.attack,
            score: self.score,
            turn: self.turn,
            show: self.show,
            scheduled_disabled: self.scheduled_disabled,
            atk_plus_uses: self.atk_plus_uses,
            owned: self.owned.clone(),
            enemies,
            transmissions,
            board: self.board.clone(),
        }
    }

    /// The programs owned as 23 flags.
    pub fn owned_flags(&self) -> [bool; 23] {
        array::from_fn(|program| self.owned.contains(&program))
    }
}
