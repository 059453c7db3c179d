//! Random numbers, and damage to bytes.

/// A small generator (xorshift64*): the same numbers on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            random.number();
        }
        random
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn choose<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// Numbers at which programs break.
const NUMBERS: [u64; 14] = [
    0,
    1,
    127,
    128,
    255,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 40,
    (1 << 53) + 1,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// Words at which readers of text break.
const WORDS: &[&str] = &[
    "null",
    "true",
    "[]",
    "{}",
    "[[[[[[[[",
    "{\"a\":",
    "\"",
    "\\u0000",
    "\u{1b}[31m",
    "\u{1b}]0;title\u{7}",
    "\r",
    "\n",
    "\t",
    "NaN",
    "nan",
    "inf",
    "-inf",
    "Infinity",
    "1e308",
    "-1e308",
    "1e999",
    "1e-999",
    "-0",
    "0.5",
    "-1",
    "-9223372036854775808",
    "9223372036854775807",
    "18446744073709551615",
    "99999999999999999999",
    "4294967295",
    "2147483648",
    "46341",
    "..",
    "/",
    "~",
    "\u{202e}",
    "é",
    "日本",
    ",",
    ":",
    "=",
    "#",
    "9999-12-31T23:59:59Z",
    "99999-01-01T00:00:00+00:00",
    "-009999-01-01T00:00:00+00:00",
];

/// The bytes with one to six injuries; `text` says which kind of values are put into it.
pub fn damaged(random: &mut Random, good: &[u8], text: bool) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..1 + random.below(6) {
        injure(random, &mut bytes, text);
    }
    bytes
}

fn injure(random: &mut Random, bytes: &mut Vec<u8>, text: bool) {
    let length = bytes.len();
    if length == 0 {
        return bytes.extend(random.number().to_le_bytes());
    }
    let at = random.below(length);
    // Headers are where the numbers are.
    let at = if random.one_in(2) { at % length.min(200) } else { at };
    let end = at + 1 + random.below((length - at).min(40));
    match random.below(10) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.number() as u8,
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let piece = bytes[at..end].to_vec();
            let place = random.below(length);
            bytes.splice(place..place, piece);
        }
        5 if text => number_to_word(random, bytes, at),
        6 if text => value_to_word(random, bytes, at),
        5 | 6 => {
            let number = random.choose(&NUMBERS).to_le_bytes();
            let size = random.choose(&[1, 2, 4, 8]);
            let number = &number[..size.min(length - at)];
            bytes[at..at + number.len()].copy_from_slice(number);
        }
        7 => drop(bytes.splice(at..at, random.choose(WORDS).bytes())),
        8 => drop(bytes.splice(at..end, random.choose(WORDS).bytes())),
        _ => {
            let count = 1 + random.below(64);
            bytes.splice(at..at, std::iter::repeat_n(b"[{0\" \xff"[random.below(6)], count));
        }
    }
}

/// Puts a word in place of the first number after `at`.
fn number_to_word(random: &mut Random, bytes: &mut Vec<u8>, at: usize) {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'.' || *byte == b'-';
    let Some(start) = bytes[at..].iter().position(is_digit).map(|found| at + found) else { return };
    let end =
        bytes[start..].iter().position(|byte| !is_digit(byte)).map_or(bytes.len(), |found| start + found);
    bytes.splice(start..end, random.choose(WORDS).bytes());
}

/// Puts a word in place of what stands after the first colon or equals sign after `at`.
fn value_to_word(random: &mut Random, bytes: &mut Vec<u8>, at: usize) {
    let Some(start) = bytes[at..].iter().position(|byte| b":=".contains(byte)).map(|found| at + found + 1)
    else {
        return;
    };
    let ends = |byte: &u8| b",}\n".contains(byte);
    let end = bytes[start..].iter().position(ends).map_or(bytes.len(), |found| start + found);
    bytes.splice(start..end, random.choose(WORDS).bytes());
}
