//! How a state of the game is written: as the numbers of the golden transitions.
//!
//! Positions are `[row, col]`, flags are 0 or 1, entities are rows of numbers in list order, and each property of the board
//! is a list of 36 numbers by cell index.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::cell::{Cell, Grid};
use super::game::{Enemy, EnemyType, Transmission};

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
pub(super) mod bit {
    use super::*;

    pub fn serialize<S: Serializer>(flag: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(flag.to_number())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
        bool::from_number(i32::deserialize(deserializer)?).map_err(de::Error::custom)
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

impl TryFrom<i32> for EnemyType {
    type Error = String;
    fn try_from(number: i32) -> Result<EnemyType, String> {
        let known = usize::try_from(number).ok().and_then(|index| EnemyType::ALL.get(index));
        known.copied().ok_or_else(|| format!("an enemy type must be 0..3, not {number}"))
    }
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
