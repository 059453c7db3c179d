//! Recurrent cells: LSTM (Hochreiter and Schmidhuber 1997), GRU (Cho et al. 2014) and minGRU (Feng et al. 2024).
//!
//! A cell reads `[N, I]` numbers and remembers `[N, H]` (the LSTM two of them). What it reads goes through one product for all gates,
//! which does not depend on what is remembered, so that a sequence has a single large product for all its steps.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::ir::CellKind;
use crate::lang::{Bool, Float, Key, Leaves, linear_recurrence, select};

use super::{Dense, Init, LayerSpec};

/// The kind of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rnn {
    /// Long short-term memory
    Lstm,
    /// Gated recurrent unit
    Gru,
    /// A GRU whose gates see only the input
    #[value(name = "mingru")]
    MinGru,
}

impl fmt::Display for Rnn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rnn::Lstm => "lstm",
            Rnn::Gru => "gru",
            Rnn::MinGru => "mingru",
        })
    }
}

/// The parameters of a cell with `H` units and `G` gates.
#[derive(Clone, Debug)]
pub struct Cell {
    /// `[I, G x H]`, and a bias.
    pub input: Dense,
    /// `[H, G x H]` and a bias; the minGRU has none.
    pub hidden: Option<Dense>,
}
crate::tree!(Cell { input, hidden });

impl Rnn {
    /// Gates, that is columns of the products for each unit.
    fn gates(self) -> usize {
        match self {
            Rnn::Lstm => 4,
            Rnn::Gru => 3,
            Rnn::MinGru => 2,
        }
    }

    /// Fresh parameters of a cell that reads `inputs` numbers. What is remembered is mixed by orthogonal matrices.
    #[track_caller]
    pub fn init(self, init: Init, key: Key, inputs: usize, units: usize) -> Cell {
        let [input, hidden] = key.split();
        let outputs = self.gates() * units;
        let layer =
            |init: Init, key, inputs| init.layers(key, &[LayerSpec { inputs, outputs, gain: 1.0 }]).remove(0);
        let hidden = (self != Rnn::MinGru).then(|| layer(Init::Orthogonal, hidden, units));
        Cell { input: layer(init, input, inputs), hidden }
    }

    /// What a cell of `units` units remembers of nothing, for `rows` environments.
    #[track_caller]
    pub fn begin(self, rows: usize, units: usize) -> Leaves {
        let zero = || Float::full([rows, units], 0.0).handle();
        let names: &[&str] = if self == Rnn::Lstm { &["hidden", "cell"] } else { &["hidden"] };
        Leaves(names.iter().map(|name| ((*name).to_owned(), zero())).collect())
    }

    /// The kernel that runs such a cell; none for a minGRU, whose steps hang on each other by no product.
    fn kind(self) -> Option<CellKind> {
        match self {
            Rnn::Lstm => Some(CellKind::Lstm),
            Rnn::Gru => Some(CellKind::Gru),
            Rnn::MinGru => None,
        }
    }

    /// All steps of a sequence: what is remembered after the last one, and the outputs f32`[T, N, H]`. `read` f32`[T, N, G x H]` is
    /// what [`Cell::input`] makes of the input; where an episode begins (`starts` `[T, N]`), nothing was remembered.
    #[track_caller]
    pub fn unroll(self, cell: &Cell, carry: Leaves, read: Float, starts: Bool) -> (Leaves, Float) {
        let begin: Vec<Float> = carry.0.iter().map(|(_, part)| Float::from_handle(*part)).collect();
        let outputs = match (self.kind(), &cell.hidden) {
            (Some(kind), Some(Dense { kernel, bias })) => {
                read.recurrent(kind, starts, *kernel, *bias, &begin)
            }
            (None, None) => vec![min_gru(begin[0], read, starts)],
            _ => panic!("the parameters are not those of a {self}"),
        };
        let steps = starts.shape()[0];
        let last = outputs.iter().map(|outputs| outputs.slice(0, steps - 1..steps).squeeze(0).handle());
        let names = carry.0.into_iter().map(|(name, _)| name);
        (Leaves(names.zip(last).collect()), outputs[0])
    }

    /// One step: as [`Rnn::unroll`], of `read` f32`[N, G x H]`.
    #[track_caller]
    pub fn step(self, cell: &Cell, carry: Leaves, read: Float, starts: Option<Bool>) -> (Leaves, Float) {
        let starts = starts.unwrap_or_else(|| Bool::full([read.shape()[0]], false));
        let (carry, outputs) = self.unroll(cell, carry, read.expand_dims(0), starts.expand_dims(0));
        (carry, outputs.squeeze(0))
    }
}

/// A minGRU: its outputs are a linear recurrence, whose factors and terms hang on the input alone.
#[track_caller]
fn min_gru(hidden: Float, read: Float, starts: Bool) -> Float {
    let units = hidden.shape()[1];
    let update = read.slice(2, 0..units).sigmoid();
    let kept = select(starts.broadcast(2, units), 0.0, 1.0 - update);
    linear_recurrence(kept, update * read.slice(2, units..2 * units), hidden)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::{arange, constant, trace};

    const UNITS: usize = 2;

    /// Two steps of a cell whose numbers are all known: outputs `[2, H]`.
    fn two_steps(rnn: Rnn, restart: bool) -> Vec<f64> {
        let traced = trace(&(), |()| {
            let numbers = |rows: usize, scale: f64| {
                let size = rows * rnn.gates() * UNITS;
                (arange(size).as_f32() * scale).sin().reshape([rows, rnn.gates() * UNITS])
            };
            let layer =
                |rows, scale| Dense { kernel: numbers(rows, scale), bias: numbers(1, 0.3).squeeze(0) };
            let cell = Cell { input: layer(1, 0.7), hidden: (rnn != Rnn::MinGru).then(|| layer(UNITS, 1.1)) };
            let step = |carry, x: f32, starts: bool| {
                let x: Float = constant([x]);
                rnn.step(&cell, carry, cell.input.apply(x.reshape([1, 1])), Some(constant([starts])))
            };
            let (carry, _) = step(rnn.begin(1, UNITS), 0.5, true);
            step(carry, -1.0, restart).1
        });
        interpret(&traced.graph, &[])[0].to_f64()
    }

    /// The formulas once more, in plain numbers.
    fn expected(rnn: Rnn) -> Vec<f64> {
        let gates = rnn.gates() * UNITS;
        let bias = |i: usize| (i as f64 * 0.3).sin();
        let read = |x: f64, i: usize| x * (i as f64 * 0.7).sin() + bias(i);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let (mut h, mut c) = (vec![0.0; UNITS], vec![0.0; UNITS]);
        for x in [0.5, -1.0] {
            let mixed = |i: usize| {
                bias(i) + (0..UNITS).map(|j| h[j] * ((j * gates + i) as f64 * 1.1).sin()).sum::<f64>()
            };
            let at = |gate: usize, unit: usize| gate * UNITS + unit;
            let next: Vec<(f64, f64)> = (0..UNITS)
                .map(|u| match rnn {
                    Rnn::Lstm => {
                        let [i, f, g, o] = [0, 1, 2, 3].map(|k| read(x, at(k, u)) + mixed(at(k, u)));
                        let memory = sigmoid(f + 1.0) * c[u] + sigmoid(i) * g.tanh();
                        (sigmoid(o) * memory.tanh(), memory)
                    }
                    Rnn::Gru => {
                        let [r, z] = [0, 1].map(|k| sigmoid(read(x, at(k, u)) + mixed(at(k, u))));
                        let n = (read(x, at(2, u)) + r * mixed(at(2, u))).tanh();
                        (z * h[u] + (1.0 - z) * n, 0.0)
                    }
                    Rnn::MinGru => {
                        let z = sigmoid(read(x, at(0, u)));
                        ((1.0 - z) * h[u] + z * read(x, at(1, u)), 0.0)
                    }
                })
                .collect();
            (h, c) = next.into_iter().unzip();
        }
        h
    }

    #[test]
    fn cells_follow_their_formulas_and_forget_where_an_episode_begins() {
        for rnn in [Rnn::Lstm, Rnn::Gru, Rnn::MinGru] {
            let found = two_steps(rnn, false);
            for (a, b) in found.iter().zip(expected(rnn)) {
                assert!((a - b).abs() < 1e-5, "{rnn}: {found:?}");
            }
            assert_ne!(two_steps(rnn, true), found, "{rnn}");
        }
    }
}
