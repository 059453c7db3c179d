//! The seeds of the runs of an evaluation, which the reference draws with NumPy: `default_rng(base).integers(0, 2**31)`.
//!
//! That is a PCG64 (O'Neill 2014, variant XSL-RR 128/64), seeded with what NumPy's `SeedSequence` makes of the number, and for a bound
//! that is a power of two the upper bits of half a word.

/// The first `count` seeds that follow from a base.
pub fn drawn(base: u64, count: usize) -> Vec<u64> {
    let mut generator = Pcg64::seeded(base);
    let words = std::iter::from_fn(|| Some(generator.next()));
    // A word gives two halves, the lower one first.
    let halves = words.flat_map(|word| [word & u64::from(u32::MAX), word >> 32]);
    halves.map(|half| half >> 1).take(count).collect()
}

/// The generator: its state, and the summand of its stream.
struct Pcg64 {
    state: u128,
    increment: u128,
}

const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

impl Pcg64 {
    fn seeded(seed: u64) -> Pcg64 {
        let [a, b, c, d] = seed_words(seed).map(u128::from);
        let (state, stream) = (a << 64 | b, c << 64 | d);
        let mut generator = Pcg64 { state: 0, increment: stream << 1 | 1 };
        generator.step();
        generator.state = generator.state.wrapping_add(state);
        generator.step();
        generator
    }

    fn step(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }

    fn next(&mut self) -> u64 {
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }
}

/// Words of the pool that entropy is mixed into.
const POOL: usize = 4;

/// The four words that NumPy's `SeedSequence` gives for a number.
fn seed_words(seed: u64) -> [u64; 4] {
    let entropy = [seed as u32, (seed >> 32) as u32, 0, 0];
    let mut hash = Hash { constant: 0x43b0_d7e5, multiplier: 0x931e_8875 };
    let mut pool = entropy.map(|word| hash.of(word));
    for from in 0..POOL {
        for to in (0..POOL).filter(|&to| to != from) {
            pool[to] = mixed(pool[to], hash.of(pool[from]));
        }
    }
    let mut hash = Hash { constant: 0x8b51_f9dd, multiplier: 0x58f3_8ded };
    let mut words = (0..2 * POOL).map(|i| u64::from(hash.of(pool[i % POOL])));
    std::array::from_fn(|_| {
        let low = words.next().unwrap_or_default();
        low | words.next().unwrap_or_default() << 32
    })
}

/// A hash of words whose constant changes with each.
struct Hash {
    constant: u32,
    multiplier: u32,
}

impl Hash {
    fn of(&mut self, word: u32) -> u32 {
        let word = word ^ self.constant;
        self.constant = self.constant.wrapping_mul(self.multiplier);
        let word = word.wrapping_mul(self.constant);
        word ^ word >> 16
    }
}

fn mixed(a: u32, b: u32) -> u32 {
    let mixed = a.wrapping_mul(0xca01_f9dd).wrapping_sub(b.wrapping_mul(0x4973_f715));
    mixed ^ mixed >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_those_of_numpy() {
        assert_eq!(drawn(42, 5), [191_664_964, 1_662_057_958, 1_405_681_632, 942_484_272, 929_893_138]);
        assert_eq!(drawn(0, 3), [1_826_701_615, 1_367_864_807, 1_097_657_232]);
        assert_eq!(drawn((1 << 40) + 3, 3), [1_574_454_166, 1_661_413_791, 954_937_760]);
        assert_eq!(drawn(u64::MAX, 3), [1_176_742_727, 1_460_346_173, 2_040_271_276]);
    }
}
