//! One complete state of the game, in the words of the rules.
//!
//! The serde form of [`Game`] is the state format of the golden transitions: positions are
//! `[row, col]`, flags are 0 or 1, entities are rows of numbers in list order, and each property of
//! the board is a list of 36 numbers by cell index.

use std::array;
use std::ops::{Index, IndexMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Cells on one side of the board.
pub const SIDE: i32 = 6;
/// Cells of the board.
pub const CELLS: usize = 36;

/// A position on the board: row 0 is at the bottom of the screen, both coordinates are 0..=5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "[i32; 2]", into = "[i32; 2]")]
pub struct Cell {
    pub row: i32,
    pub col: i32,
}

impl Cell {
    /// The corners, in the order in which the rules list them.
    pub const CORNERS: [Cell; 4] = [Cell::new(0, 0), Cell::new(0, 5), Cell::new(5, 0), Cell::new(5, 5)];

    pub const fn new(row: i32, col: i32) -> Cell {
        Cell { row, col }
    }

    /// The cell at these coordinates, if they are on the board.
    pub fn checked(row: i32, col: i32) -> Option<Cell> {
        let on_board = (0..SIDE).contains(&row) && (0..SIDE).contains(&col);
        on_board.then_some(Cell { row, col })
    }

    /// All cells by index: row 0 first.
    pub fn all() -> impl Iterator<Item = Cell> {
        (0..CELLS).map(Cell::from_index)
    }

    /// `6 * row + col`.
    pub fn index(self) -> usize {
        (SIDE * self.row + self.col) as usize
    }

    pub fn from_index(index: usize) -> Cell {
        Cell { row: index as i32 / SIDE, col: index as i32 % SIDE }
    }

    /// The cell `rows` up and `cols` to the right, if it is on the board.
    pub fn offset(self, rows: i32, cols: i32) -> Option<Cell> {
        Cell::checked(self.row + rows, self.col + cols)
    }

    /// The Manhattan distance.
    pub fn distance(self, other: Cell) -> i32 {
        (self.row - other.row).abs() + (self.col - other.col).abs()
    }

    /// Whether the two cells share a row or a column.
    pub fn in_line_with(self, other: Cell) -> bool {
        self.row == other.row || self.col == other.col
    }
}

impl TryFrom<[i32; 2]> for Cell {
    type Error = String;
    fn try_from([row, col]: [i32; 2]) -> Result<Cell, String> {
        Cell::checked(row, col).ok_or_else(|| format!("({row}, {col}) is outside the 6x6 board"))
    }
}

impl From<Cell> for [i32; 2] {
    fn from(cell: Cell) -> [i32; 2] {
        [cell.row, cell.col]
    }
}

/// One value for each of the 36 cells; read and written by [`Cell`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid<T>(pub [T; CELLS]);

impl<T: Copy + Default> Default for Grid<T> {
    fn default() -> Grid<T> {
        Grid([T::default(); CELLS])
    }
}

impl<T> Index<Cell> for Grid<T> {
    type Output = T;
    fn index(&self, cell: Cell) -> &T {
        &self.0[cell.index()]
    }
}

impl<T> IndexMut<Cell> for Grid<T> {
    fn index_mut(&mut self, cell: Cell) -> &mut T {
        &mut self.0[cell.index()]
    }
}

/// What a cell can hold: numbers, and flags written as 0 or 1.
trait Number: Copy {
    fn to_number(self) -> i32;
    fn from_number(number: i32) -> Result<Self, String>;
}

impl Number for i32 {
    fn to_number(self) -> i32 {
        self
    }
    fn from_number(number: i32) -> Result<i32, String> {
        Ok(number)
    }
}

impl Number for bool {
    fn to_number(self) -> i32 {
        self as i32
    }
    fn from_number(number: i32) -> Result<bool, String> {
        match number {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(format!("a flag must be 0 or 1, not {number}")),
        }
    }
}

impl<T: Number> Serialize for Grid<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|value| value.to_number()))
    }
}

impl<'de, T: Number> Deserialize<'de> for Grid<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Grid<T>, D::Error> {
        let numbers = Vec::<i32>::deserialize(deserializer)?;
        let values: Vec<T> =
            numbers.into_iter().map(T::from_number).collect::<Result<_, _>>().map_err(de::Error::custom)?;
        let length = values.len();
        let values = values
            .try_into()
            .map_err(|_| de::Error::custom(format!("a board has 36 values, not {length}")))?;
        Ok(Grid(values))
    }
}

/// Flags as 0 or 1, for `#[serde(with = "bit")]`.
mod bit {
    use super::*;

    pub fn serialize<S: Serializer>(flag: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(flag.to_number())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
        bool::from_number(i32::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

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

impl TryFrom<i32> for EnemyType {
    type Error = String;
    fn try_from(number: i32) -> Result<EnemyType, String> {
        let known = usize::try_from(number).ok().and_then(|index| EnemyType::ALL.get(index));
        known.copied().ok_or_else(|| format!("an enemy type must be 0..3, not {number}"))
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

impl TryFrom<[i32; 10]> for Enemy {
    type Error = String;
    fn try_from(row: [i32; 10]) -> Result<Enemy, String> {
        let [kind, at_row, at_col, hp, disabled_turns, stunned, from_siphon, from_scheduled, hint @ ..] = row;
        Ok(Enemy {
            kind: kind.try_into()?,
            at: [at_row, at_col].try_into()?,
            hp,
            disabled_turns,
            stunned: bool::from_number(stunned)?,
            from_siphon: bool::from_number(from_siphon)?,
            from_scheduled: bool::from_number(from_scheduled)?,
            hint: if hint == [-1, -1] { None } else { Some(hint.try_into()?) },
        })
    }
}

impl From<Enemy> for [i32; 10] {
    fn from(enemy: Enemy) -> [i32; 10] {
        let hint = enemy.hint.map_or([-1, -1], <[i32; 2]>::from);
        [
            enemy.kind as i32,
            enemy.at.row,
            enemy.at.col,
            enemy.hp,
            enemy.disabled_turns,
            enemy.stunned as i32,
            enemy.from_siphon as i32,
            enemy.from_scheduled as i32,
            hint[0],
            hint[1],
        ]
    }
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

impl TryFrom<[i32; 6]> for Transmission {
    type Error = String;
    fn try_from(row: [i32; 6]) -> Result<Transmission, String> {
        let [kind, at_row, at_col, turns, from_siphon, from_scheduled] = row;
        Ok(Transmission {
            kind: kind.try_into()?,
            at: [at_row, at_col].try_into()?,
            turns,
            from_siphon: bool::from_number(from_siphon)?,
            from_scheduled: bool::from_number(from_scheduled)?,
        })
    }
}

impl From<Transmission> for [i32; 6] {
    fn from(transmission: Transmission) -> [i32; 6] {
        [
            transmission.kind as i32,
            transmission.at.row,
            transmission.at.col,
            transmission.turns,
            transmission.from_siphon as i32,
            transmission.from_scheduled as i32,
        ]
    }
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
