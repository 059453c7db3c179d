//! A uniform choice among the valid actions: what random play, benchmarks and the conformance check act by.

use crate::array::DType;
use crate::lang::{Bool, Int, Key, below, concatenate, int, int_u64, iota, select};

/// One uniformly drawn valid action (i32 scalar); `mask` is bool`[A]`.
#[track_caller]
pub fn random_action(key: Key, mask: Option<Bool>, num_actions: usize) -> Int {
    random_action_by(key.bits([]), mask, num_actions)
}

/// The action that 32 uniform bits (a u32 scalar) mean; `mask` is bool`[A]`.
#[track_caller]
pub fn random_action_by(bits: Int, mask: Option<Bool>, num_actions: usize) -> Int {
    let Some(mask) = mask else { return below(bits, int(num_actions as i32)) };
    let ranks = ranks(mask, num_actions);
    let count = ranks.index(0, num_actions - 1);
    // With nothing valid, anything is.
    let any = count.gt(0);
    let chosen = below(bits, select(any, count, num_actions));
    let hit = mask & ranks.eq(chosen + 1);
    let index = iota(DType::I32, [num_actions], 0);
    select(any, select(hit, index, 0).sum([0]), chosen)
}

/// How many of a bool`[size]` are set up to and including each place, i32`[size]`: bits of a word are counted at once
/// (a cumsum takes three times as long for the 28 actions of HackMatrix).
#[track_caller]
fn ranks(flags: Bool, size: usize) -> Int {
    let mut before = int(0);
    let mut parts = Vec::new();
    for start in (0..size).step_by(64) {
        let width = 64.min(size - start);
        let place = iota(DType::U64, [width], 0);
        let word = (flags.slice(0, start..start + width).as_u64() << place).sum([0]);
        let up_to = (int_u64(2).fill(&[width]) << place) - 1;
        let ranks = before.fill(&[width]) + (word.fill(&[width]) & up_to).count_ones().as_i32();
        before = ranks.index(0, width - 1);
        parts.push(ranks);
    }
    concatenate(0, parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::{constant, trace, vmap_last};

    #[test]
    fn random_actions_are_valid_and_uniform() {
        const N: usize = 6000;
        let traced = trace(&(), |()| {
            vmap_last(Key::new(5).split_last(N), |key| {
                let [a, b, c] = key.split();
                let mask = constant([false, true, true, false, true]);
                let far = iota(DType::I32, [70], 0).ge(68);
                let any = random_action(b, Some(mask & !mask), 5);
                (random_action(a, Some(mask), 5), any, random_action(c, Some(far), 70))
            })
        });
        let results = interpret(&traced.graph, &[]);
        let valid = [vec![1.0, 2.0, 4.0], vec![0.0, 1.0, 2.0, 3.0, 4.0], vec![68.0, 69.0]];
        for (found, valid) in results.iter().zip(valid) {
            let p = 1.0 / valid.len() as f64;
            let mut total = 0;
            for action in &valid {
                let count = found.to_f64().iter().filter(|x| *x == action).count();
                assert!((count as f64 / N as f64 - p).abs() < 5.0 * (p * (1.0 - p) / N as f64).sqrt());
                total += count;
            }
            assert_eq!(total, N);
        }
    }
}
