//! Keys against recorded answers of `jax.random` (`scripts/record_jax_random.py`).

use lockstep::array::{ArrayType, DType, HostArray};
use lockstep::interpret::interpret;
use lockstep::lang::{Handle, Int, Key, Tree, trace};
use serde_json::Value;

use crate::common::run_on_device;

fn recorded() -> Value {
    serde_json::from_str(include_str!("data/jax_random.json")).unwrap()
}

/// All numbers inside nested lists, in order.
fn numbers(value: &Value) -> Vec<u64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_u64().unwrap_or_else(|| panic!("no number: {other}"))],
    }
}

fn bits(array: &HostArray) -> Vec<u64> {
    match array {
        HostArray::U8(v) => v.iter().map(|&x| x.into()).collect(),
        HostArray::U32(v) => v.iter().map(|&x| x.into()).collect(),
        HostArray::U64(v) => v.iter().copied().collect(),
        HostArray::F32(v) => v.iter().map(|x| x.to_bits().into()).collect(),
        other => panic!("unexpected {}", other.dtype()),
    }
}

/// Checks that what `draw` makes of the key of `seed` equals the recorded bits, on the device and on the oracle. The
/// key is an input, as in JAX: a constant would be folded with another rounding.
fn check<Y: Tree>(what: &str, seed: u64, expected: &Value, draw: impl FnOnce(Key) -> Y) {
    check_near(what, seed, expected, 0.0, draw);
}

/// As [`check`], of floats that may be off by `rounded`.
fn check_near<Y: Tree>(what: &str, seed: u64, expected: &Value, rounded: f64, draw: impl FnOnce(Key) -> Y) {
    let words = Int::from_handle(Handle::placeholder(&ArrayType::new(DType::U32, [2])));
    let graph = trace(&words, |words| draw(Key::from_words(words))).graph;
    let seed = [HostArray::new(&[2], vec![(seed >> 32) as u32, seed as u32])];
    let expected = numbers(expected);
    // A processor may round `x * scale + low` once, as that of the recorder did, or twice, as the oracle does. Both the product
    // and the sum are at most `scale + |low|` in size, and are rounded by a share of at most 2^-24.
    let value = |bits: u64| f64::from(f32::from_bits(bits as u32));
    let same = |a: u64, b: u64| a == b || rounded > 0.0 && (value(a) - value(b)).abs() <= rounded;
    let results = [run_on_device(&graph, &seed), interpret(&graph, &seed)];
    for (results, place) in results.iter().zip(["the device", "the oracle"]) {
        let found: Vec<u64> = results.iter().flat_map(bits).collect();
        let all_same = found.iter().zip(&expected).all(|(&a, &b)| same(a, b));
        assert!(all_same && found.len() == expected.len(), "{what} on {place}: {found:?}, not {expected:?}");
    }
}

#[test]
fn keys_and_draws_are_those_of_jax() {
    let recorded = recorded();
    for wide in recorded["wide_seeds"].as_array().unwrap() {
        let seed = wide["seed"].as_u64().unwrap();
        check("key", seed, &wide["key"], |_| Key::new(seed));
    }
    for case in recorded["seeds"].as_array().unwrap() {
        let seed = case["seed"].as_u64().unwrap();
        check("key", seed, &case["key"], |_| Key::new(seed));
        for split in case["split"].as_array().unwrap() {
            check("split", seed, split, |key| key.split_many(split.as_array().unwrap().len()));
        }
        for fold in case["fold_in"].as_array().unwrap() {
            let data = fold["data"].as_u64().unwrap() as u32;
            check("fold_in", seed, &fold["key"], |key| key.fold_in(data));
        }
        let shape = |draw: &Value| numbers(&draw["shape"]).iter().map(|&x| x as usize).collect::<Vec<_>>();
        let draws = |name: &str, width: &str| case[name][width].as_array().unwrap().clone();
        for draw in draws("bits", "8") {
            check("bits 8", seed, &draw["bits"], |key| key.bits_u8(shape(&draw)));
        }
        for draw in draws("bits", "32") {
            check("bits 32", seed, &draw["bits"], |key| key.bits(shape(&draw)));
        }
        for draw in draws("bits", "64") {
            check("bits 64", seed, &draw["bits"], |key| key.bits_u64(shape(&draw)));
        }
        for draw in draws("uniform", "f32") {
            let (low, high) = (draw["low"].as_f64().unwrap(), draw["high"].as_f64().unwrap());
            // In 0..1 there is nothing to round.
            let size = high - low + low.abs();
            let rounded = if (low, high) == (0.0, 1.0) { 0.0 } else { 3.0 * size / f64::from(1 << 24) };
            check_near("uniform", seed, &draw["bits"], rounded, |key| key.uniform(shape(&draw), low..high));
        }
    }
}
