//! Points that do not depend on what came of earlier ones: random, quasi-random, and on a grid.

use sobol_burley::sample;

use super::random::Random;
use super::space::Space;

/// Point `number` (from 0) of Sobol's sequence (1967), scrambled by the seed as Owen (1995) does it. Any few points in a row are spread more
/// evenly over the space than random ones.
pub fn sobol(space: &Space, seed: u64, number: usize) -> Vec<f64> {
    let scramble = (seed ^ (seed >> 32)) as u32;
    let place = |dimension: usize| 2.0 * f64::from(sample(number as u32, dimension as u32, scramble)) - 1.0;
    space.snapped(&(0..space.parameters.len()).map(place).collect::<Vec<f64>>())
}

/// A point that is uniform in the space.
pub fn random(space: &Space, seed: u64, number: usize) -> Vec<f64> {
    let mut random = Random::new(seed, number as u64);
    space.snapped(&space.parameters.iter().map(|_| random.symmetric()).collect::<Vec<f64>>())
}
