//! Numbers for people: counts, measurements and durations in a few characters; and paths as text.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

pub use crate::algorithms::count::thousands;

/// What stands for a number that is not there.
pub const ABSENT: &str = "-";

/// A path, or none, in JSON, which holds Unicode only: what of it is none is replaced.
///
/// # Errors
/// Those of the serializer.
pub fn path_as_text<S: Serializer, P>(path: &P, serializer: S) -> Result<S::Ok, S::Error>
where
    for<'a> &'a P: Into<Option<&'a PathBuf>>,
{
    let path: Option<&PathBuf> = path.into();
    path.map(|path| path.display().to_string()).serialize(serializer)
}

/// A count in at most five characters: `999`, `12.3k`, `1.25M`, `10.0M`, `3.00G`.
pub fn count(number: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    // What rounds to 1000 of a unit is 1 of the next.
    match units.into_iter().find(|(size, _)| number >= 0.9995 * size) {
        Some((size, unit)) => format!("{}{unit}", significant(number / size, 3)),
        None => format!("{number:.0}"),
    }
}

/// A number with so many significant digits: `0.00412`, `-1.23`, `213`, `98765`, `1.23e-7`; [`ABSENT`] for none.
pub fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".into();
    } else if value.is_nan() {
        return ABSENT.into();
    } else if value.is_infinite() {
        return value.to_string();
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let exponent = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok());
    match exponent.unwrap_or(0) {
        exponent @ -4..7 => format!("{value:.*}", (digits as i32 - 1 - exponent).max(0) as usize),
        _ => scientific,
    }
}

/// `1d 2h`, `2h 3m`, `3m 4s` or `4s`: the two largest units.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_readable() {
        assert_eq!([0, 999, 3_276_800].map(thousands), ["0", "999", "3,276,800"]);
        let counts = [0.0, 999.0, 999.6, 12_345.0, 1_250_000.0, 999_960.0, 10e6, 3e9].map(count);
        assert_eq!(counts, ["0", "999", "1.00k", "12.3k", "1.25M", "1.00M", "10.0M", "3.00G"]);
    }

    #[test]
    fn measurements_have_significant_digits() {
        let texts = [0.0, 0.000_25, -1.234, 213.4, 98_765.4, 9.996, 1.234e-7, -2e9, f64::NAN]
            .map(|v| significant(v, 3));
        assert_eq!(texts, ["0", "0.000250", "-1.23", "213", "98765", "10.0", "1.23e-7", "-2.00e9", "-"]);
    }

    #[test]
    fn durations_are_short() {
        let texts = [0.0, 59.9, 61.0, 3600.0, 3_725.0, 100_000.0].map(duration);
        assert_eq!(texts, ["0s", "59s", "1m 1s", "1h 0m", "1h 2m", "1d 3h"]);
    }
}
