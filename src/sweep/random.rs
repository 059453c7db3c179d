//! Random numbers of the search, on the host: SplitMix64 (Steele, Lea and Flood 2014). Each decision of a sweep has a stream of its own, so
//! that it depends on the seed and on what is known, not on the process that makes it.

use std::f64::consts::TAU;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of decision `number` of a sweep with that seed.
    pub fn new(seed: u64, number: u64) -> Random {
        let mut stream = Random(seed);
        let mixed = stream.bits();
        Random(mixed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    /// 64 uniform bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in [-1, 1).
    pub fn symmetric(&mut self) -> f64 {
        2.0 * self.uniform() - 1.0
    }

    /// A standard normal number (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let (a, b) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * a.ln()).sqrt() * (TAU * b).cos()
    }

    /// A whole number below `count`, which is above 0.
    pub fn below(&mut self, count: usize) -> usize {
        ((self.uniform() * count as f64) as usize).min(count - 1)
    }

    /// Puts a list into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_moments_of_their_distribution() {
        let mut random = Random::new(3, 5);
        let (mut uniform, mut normal, mut square) = (0.0, 0.0, 0.0);
        const COUNT: usize = 20_000;
        for _ in 0..COUNT {
            uniform += random.uniform();
            let x = random.normal();
            normal += x;
            square += x * x;
        }
        let mean = |sum: f64| sum / COUNT as f64;
        assert!((mean(uniform) - 0.5).abs() < 0.01, "{}", mean(uniform));
        assert!(mean(normal).abs() < 0.03 && (mean(square) - 1.0).abs() < 0.05);
        let first = |seed, number| Random::new(seed, number).bits();
        assert!(first(0, 0) != first(0, 1) && first(0, 0) != first(1, 0) && first(0, 1) == first(0, 1));
    }
}
