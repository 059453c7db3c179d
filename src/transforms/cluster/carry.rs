//! Scans with fewer arrays: what is small of what they carry, and of what their steps give, as one array of words each.
//!
//! XLA starts something for each array that a loop carries: a copy if a cluster makes the array, since a cluster cannot write to where the
//! loop keeps it, and a store for each array of results. A rollout of CartPole carries a dozen arrays of a few numbers, and its steps give
//! six: to copy and store them one by one took longer than the step. To take words apart and to put them together costs
//! next to nothing inside a cluster.

use std::sync::Arc;

use crate::array::{ArrayType, DType};
use crate::ir::{Binary, Build, Comparison, Graph, Op, Var};

use super::plan::fits;

/// Most words that are carried as one array, and most of a row of results.
const MAX_WORDS: usize = 1024;
/// Most words of an array among them. To put together what is larger takes longer than to copy it: with all that fit, HackMatrix, which
/// carries dozens of arrays of 128 numbers, trained 5 % slower.
const MAX_WORDS_OF_AN_ARRAY: usize = 64;

/// The graph with packed scans where they stand outside of all clusters.
pub fn with_packed_scans(graph: &Graph) -> Graph {
    graph.rewritten(&mut |out, equation, inputs| match &equation.op {
        _ if fits(graph, equation) => out.copy_with(equation, inputs, Graph::clone),
        &Op::Scan { ref body, captures, carry, length, reverse } => {
            let body = with_packed_scans(body);
            let packed = PackedScan::of(&body, captures, carry);
            let (captured, rest) = inputs.split_at(captures);
            let (carried, xs) = rest.split_at(carry);
            let build = &mut Build::new(out, equation.location);
            let carried = packed.carried.pack(build, carried);
            let op = Op::Scan {
                captures,
                carry: carried.len(),
                length,
                reverse,
                body: Arc::new(packed.body(&body, captures, equation.location)),
            };
            let outputs = build.many(op, &[captured, &carried, xs].concat());
            let (carried, results) = outputs.split_at(carried.len());
            [packed.carried.unpack(build, carried), packed.results.unpack(build, results)].concat()
        }
        _ => out.copy_with(equation, inputs, with_packed_scans),
    })
}

/// What of a scan is packed.
struct PackedScan {
    carried: Packing,
    results: Packing,
}

impl PackedScan {
    fn of(body: &Graph, captures: usize, carry: usize) -> Self {
        let types = body.output_types();
        // What a step leaves as it is needs no copy.
        let changes: Vec<bool> = (0..carry).map(|i| body.inputs[captures + i] != body.outputs[i]).collect();
        PackedScan {
            carried: Packing::of(&types[..carry], |i| changes[i]),
            results: Packing::of(&types[carry..], |_| true),
        }
    }

    /// The body of the packed scan.
    fn body(&self, body: &Graph, captures: usize, at: crate::ir::Location) -> Graph {
        let mut graph = Graph::new();
        let types = body.input_types();
        let carry = self.carried.types.len();
        let mut input = |array_type: &ArrayType| graph.input(array_type.clone());
        let captured: Vec<Var> = types[..captures].iter().map(&mut input).collect();
        let carried: Vec<Var> = self.carried.packed_types().iter().map(&mut input).collect();
        let xs: Vec<Var> = types[captures + carry..].iter().map(&mut input).collect();
        let carried = self.carried.unpack(&mut Build::new(&mut graph, at), &carried);
        let outputs = graph.inline(body, &[captured, carried, xs].concat());
        let build = &mut Build::new(&mut graph, at);
        let outputs =
            [self.carried.pack(build, &outputs[..carry]), self.results.pack(build, &outputs[carry..])];
        graph.outputs = outputs.concat();
        graph
    }
}

/// Arrays, some of which are one array of words, u32`[W]`, behind the others.
struct Packing {
    types: Vec<ArrayType>,
    /// Whether each is packed.
    packed: Vec<bool>,
}

impl Packing {
    /// Packs small arrays of those that `may` be.
    fn of(types: &[ArrayType], may: impl Fn(usize) -> bool) -> Self {
        let mut left = MAX_WORDS;
        let mut packed: Vec<bool> = (types.iter().enumerate())
            .map(|(i, array_type)| {
                let most = left.min(MAX_WORDS_OF_AN_ARRAY);
                let words = words(array_type).filter(|words| may(i) && (1..=most).contains(words));
                left -= words.unwrap_or(0);
                words.is_some()
            })
            .collect();
        if packed.iter().filter(|packed| **packed).count() < 2 {
            packed.fill(false);
        }
        Packing { types: types.to_vec(), packed }
    }

    fn packed_types(&self) -> Vec<ArrayType> {
        let all = || self.types.iter().zip(&self.packed);
        let width =
            all().filter(|(_, packed)| **packed).filter_map(|(array_type, _)| words(array_type)).sum();
        let kept = all().filter(|(_, packed)| !**packed).map(|(array_type, _)| array_type.clone());
        kept.chain((width > 0).then(|| ArrayType::new(DType::U32, [width]))).collect()
    }

    fn pack(&self, build: &mut Build, arrays: &[Var]) -> Vec<Var> {
        let (mut kept, mut rows) = (Vec::new(), Vec::new());
        for (&array, &packed) in arrays.iter().zip(&self.packed) {
            match packed {
                true => rows.push(to_words(build, array)),
                false => kept.push(array),
            }
        }
        if !rows.is_empty() {
            kept.push(build.one(Op::Concatenate { axis: 0 }, &rows));
        }
        kept
    }

    /// The arrays of what was packed, whose words may have an axis in front, of steps.
    fn unpack(&self, build: &mut Build, packed: &[Var]) -> Vec<Var> {
        let (mut kept, mut start) = (packed.iter(), 0);
        let array = |(array_type, packed_here): (&ArrayType, &bool)| match words(array_type) {
            Some(width) if *packed_here => {
                let all = *packed.last().expect("the words");
                let axis = build.array_type(all).rank() - 1;
                start += width;
                let own = build.slice_axis(all, axis, start - width..start);
                from_words(build, own, array_type)
            }
            _ => *kept.next().expect("as many as were kept"),
        };
        self.types.iter().zip(&self.packed).map(array).collect()
    }
}

/// How many words hold an array, if its numbers can be words.
fn words(array_type: &ArrayType) -> Option<usize> {
    match array_type.dtype {
        DType::Bool | DType::U8 | DType::I32 | DType::U32 | DType::F32 => Some(array_type.size()),
        DType::U64 => Some(2 * array_type.size()),
        DType::BF16 | DType::F64 => None,
    }
}

/// The words of an array: u32`[W]`.
fn to_words(build: &mut Build, array: Var) -> Var {
    let array_type = build.array_type(array);
    let size = array_type.size();
    let flat = build.reshape(array, &[size]);
    match array_type.dtype {
        DType::I32 | DType::F32 => build.one(Op::Bitcast(DType::U32), &[flat]),
        DType::U64 => {
            let halves = [0, 32].map(|shift| {
                let shift = build.full(&ArrayType::new(DType::U64, [size]), f64::from(shift));
                let half = build.binary(Binary::ShiftRight, flat, shift);
                build.convert(half, DType::U32)
            });
            build.one(Op::Concatenate { axis: 0 }, &halves)
        }
        _ => build.convert(flat, DType::U32),
    }
}

/// The array of words that may have an axis in front: `[.., W]`.
fn from_words(build: &mut Build, words: Var, array_type: &ArrayType) -> Var {
    let lead = build.array_type(words).shape.split_last().map_or(vec![], |(_, lead)| lead.to_vec());
    let numbers = match array_type.dtype {
        DType::I32 | DType::F32 => build.one(Op::Bitcast(array_type.dtype), &[words]),
        DType::Bool => {
            let zero = build.full_like(words, 0.0);
            build.compare(Comparison::Ne, words, zero)
        }
        DType::U64 => {
            let size = array_type.size();
            let [low, high] = [0, size].map(|start| {
                let half = build.slice_axis(words, lead.len(), start..start + size);
                build.convert(half, DType::U64)
            });
            let shift = build.full_like(high, 32.0);
            let high = build.binary(Binary::ShiftLeft, high, shift);
            build.binary(Binary::Or, high, low)
        }
        dtype => build.convert(words, dtype),
    };
    build.reshape(numbers, &[&lead[..], &array_type.shape].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::HostArray;
    use crate::interpret::interpret;
    use crate::ir::{Unary, check};

    /// A scan that carries numbers of each dtype that words hold, one that they do not, one that stays and a large one; a product keeps it
    /// out of clusters.
    fn scan() -> Graph {
        let types = [
            ArrayType::new(DType::F32, [2, 2]),
            ArrayType::new(DType::Bool, [3]),
            ArrayType::new(DType::I32, []),
            ArrayType::new(DType::U64, [2]),
            ArrayType::new(DType::U8, [1]),
            ArrayType::new(DType::F64, []),
            ArrayType::new(DType::F32, [2]),
            ArrayType::new(DType::F32, [40, 40]),
        ];
        let at = std::panic::Location::caller();
        let mut body = Graph::new();
        let carry: Vec<Var> = types.iter().map(|array_type| body.input(array_type.clone())).collect();
        let x = body.input(ArrayType::new(DType::I32, []));
        let b = &mut Build::new(&mut body, at);
        let product =
            b.one(Op::Dot { batch: (vec![], vec![]), contract: (vec![1], vec![0]) }, &[carry[0], carry[0]]);
        let flipped = b.unary(Unary::Not, carry[1]);
        let less = b.sub(carry[2], x);
        let large = b.full(&types[3], 5e9);
        let grown = b.add(carry[3], large);
        let bytes = b.add(carry[4], carry[4]);
        let half = b.full_like(carry[5], 0.5);
        let doubles = b.mul(carry[5], half);
        let sines = b.unary(Unary::Sin, carry[7]);
        let outputs = [product, flipped, less, grown, bytes, doubles, carry[6], sines];
        body.outputs = [&outputs[..], &[flipped, less, grown]].concat();
        let mut graph = Graph::new();
        let inputs: Vec<Var> = types.iter().map(|array_type| graph.input(array_type.clone())).collect();
        let b = &mut Build::new(&mut graph, at);
        let xs = b.iota(DType::I32, &[3], 0);
        let op = Op::Scan { body: Arc::new(body), captures: 0, carry: 8, length: 3, reverse: true };
        graph.outputs = b.many(op, &[&inputs[..], &[xs]].concat());
        graph
    }

    #[test]
    fn a_packed_scan_means_the_same() {
        let graph = scan();
        let packed = with_packed_scans(&graph);
        check(&packed).unwrap();
        let widths: Vec<(usize, usize)> = (packed.equations.iter())
            .filter_map(|equation| match &equation.op {
                Op::Scan { carry, .. } => Some((*carry, equation.outputs.len())),
                _ => None,
            })
            .collect();
        // Words, f64, what stays, what is large; and the words of the results.
        assert_eq!(widths, [(4, 5)]);
        let value = |array_type: &ArrayType| match array_type.dtype {
            DType::F32 => {
                let numbers = (0..array_type.size()).map(|i| 0.3 * i as f32 - 0.5);
                HostArray::new(&array_type.shape, numbers.collect::<Vec<f32>>())
            }
            DType::Bool => HostArray::new(&[3], vec![true, false, true]),
            DType::I32 => HostArray::scalar(-7i32),
            DType::U64 => HostArray::new(&[2], vec![u64::MAX - 3, 1 << 40]),
            DType::U8 => HostArray::new(&[1], vec![3u8]),
            _ => HostArray::scalar(0.7f64),
        };
        let values: Vec<HostArray> = graph.input_types().iter().map(value).collect();
        let [expected, found] = [&graph, &packed].map(|graph| interpret(graph, &values));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!((found.array_type(), found.to_bytes()), (expected.array_type(), expected.to_bytes()));
        }
    }

    #[test]
    fn a_scan_that_fits_a_cluster_stays() {
        let mut body = Graph::new();
        let carry = [(); 2].map(|()| body.input(ArrayType::new(DType::F32, [3])));
        let b = &mut Build::new(&mut body, std::panic::Location::caller());
        let sines = carry.map(|x| b.unary(Unary::Sin, x));
        body.outputs = sines.to_vec();
        let mut graph = Graph::new();
        let inputs = [(); 2].map(|()| graph.input(ArrayType::new(DType::F32, [3])));
        let op = Op::Scan { body: Arc::new(body), captures: 0, carry: 2, length: 3, reverse: false };
        graph.outputs = Build::new(&mut graph, std::panic::Location::caller()).many(op, &inputs);
        assert_eq!(with_packed_scans(&graph).to_string(), graph.to_string());
    }
}
