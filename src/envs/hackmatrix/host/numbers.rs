//! How the entities of a game are written in the golden transitions: as rows of numbers, in list order.

use super::cell_numbers::Number;
use super::game::{Enemy, EnemyType, Transmission};

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
