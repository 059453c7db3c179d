//! How cells and the properties of a board are written in the golden transitions: positions are `[row, col]`, flags are 0 or 1,
//! and each property of the board is a list of 36 numbers by cell index.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::cell::{Cell, Grid};

/// What a cell can hold: numbers, and flags written as 0 or 1.
pub(super) trait Number: Copy {
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
