//! Large whole numbers as people write them: `1000000`, `1_000_000`, `1,000,000`, `1e6`, `1M`, `2.5M`.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};

/// `3,276,800`
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The number that a text says.
///
/// # Errors
/// One line: it is no whole number, or one that is too large.
pub fn parse(text: &str) -> Result<u64, String> {
    let complaint = || format!("{text:?} is no whole number; write it as 1000000, 1_000_000, 1e6 or 1M");
    let plain: String = text.trim().chars().filter(|c| !matches!(c, '_' | ',')).collect();
    if let Ok(number) = plain.parse() {
        return Ok(number);
    }
    let (digits, exponent) = split(&plain).ok_or_else(complaint)?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let zeros = exponent.checked_sub(fraction.len()).ok_or_else(complaint)?;
    let number = format!("{whole}{fraction}{}", "0".repeat(zeros));
    if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(complaint());
    }
    number.parse().map_err(|_| format!("{text} is too large; the largest number is {}", u64::MAX))
}

/// The digits, and the power of ten that they are multiplied by.
fn split(text: &str) -> Option<(&str, usize)> {
    if let Some((digits, exponent)) = text.split_once(['e', 'E']) {
        let exponent = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
        return (exponent <= 30 && !digits.is_empty()).then_some((digits, exponent));
    }
    let suffixes = [("k", 3), ("K", 3), ("m", 6), ("M", 6), ("g", 9), ("G", 9), ("b", 9), ("B", 9)];
    let suffixed = suffixes.iter().find_map(|(suffix, power)| Some((text.strip_suffix(suffix)?, *power)));
    let (digits, power) = suffixed.unwrap_or((text, 0));
    (!digits.is_empty()).then_some((digits, power))
}

/// Reads such a number from a file: an integer, or a text or a float that is one.
pub fn deserialize<'a, D: Deserializer<'a>>(deserializer: D) -> Result<u64, D::Error> {
    struct Count;
    impl Visitor<'_> for Count {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a whole number such as 1000000, 1e6 or \"1M\"")
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
            Ok(value)
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
            u64::try_from(value).map_err(|_| E::custom(format!("{value} is below 0")))
        }

        fn visit_f64<E: Error>(self, value: f64) -> Result<u64, E> {
            // Up to here every whole number is exact.
            let is_whole = value.fract() == 0.0 && (0.0..=9.007e15).contains(&value);
            is_whole.then_some(value as u64).ok_or_else(|| E::custom(format!("{value} is no whole number")))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            parse(text).map_err(E::custom)
        }
    }
    deserializer.deserialize_any(Count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_write_them() {
        for (text, number) in [
            ("0", 0),
            ("1000", 1000),
            ("1e6", 1_000_000),
            ("1E+6", 1_000_000),
            ("2.5e3", 2500),
            ("3_000_000", 3_000_000),
            ("3,000,000", 3_000_000),
            ("3M", 3_000_000),
            ("1.50M", 1_500_000),
            (".5k", 500),
            ("2B", 2_000_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
        for text in
            ["", "-5", "1.5", "1.5555k", "M", "e6", "1e", "1e-3", "1e99", "many", "1x", "0x10", "+-1", "."]
        {
            let error = parse(text).unwrap_err();
            assert!(error.contains("is no whole number"), "{text}: {error}");
        }
        assert!(parse("1e20").unwrap_err().starts_with("1e20 is too large"));
    }

    #[test]
    fn numbers_of_files() {
        #[derive(serde::Deserialize)]
        struct File {
            #[serde(deserialize_with = "deserialize")]
            n: u64,
        }
        let read = |text: &str| toml::from_str::<File>(text).map(|file| file.n);
        for text in ["n = 1_000_000", "n = 1e6", "n = \"1M\""] {
            assert_eq!(read(text).unwrap(), 1_000_000);
        }
        for text in ["n = 1.5", "n = -1", "n = true", "n = \"some\""] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
