//! Weights as they lie in PyTorch, and where the same numbers stand in a network's parameters here.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::lang::{Tree, leaf_paths, leaf_types};

use super::flat;

/// How a weight lies in PyTorch.
enum Layout {
    Bias,
    /// `[outputs][inputs]`; the inputs are an image's `channels`, one after the other.
    Linear {
        inputs: usize,
        outputs: usize,
        channels: usize,
    },
    /// `[outputs][inputs][3][3]`
    Conv {
        inputs: usize,
        outputs: usize,
    },
}

/// A weight or bias.
struct Tensor {
    /// As in the golden data.
    name: String,
    /// Its first place in the vector of all parameters, and how many numbers it has.
    start: usize,
    size: usize,
    layout: Layout,
}

impl Tensor {
    /// Where the number at a flat index of PyTorch's stands in the vector of all parameters.
    fn place(&self, index: usize) -> usize {
        self.start
            + match self.layout {
                Layout::Bias => index,
                Layout::Linear { inputs, outputs, channels } => {
                    let (output, input) = (index / inputs, index % inputs);
                    let pixels = inputs / channels;
                    let (channel, pixel) = (input / pixels, input % pixels);
                    (pixel * channels + channel) * outputs + output
                }
                Layout::Conv { inputs, outputs } => {
                    let (output, input, pixel) = (index / (inputs * 9), index / 9 % inputs, index % 9);
                    (pixel * inputs + input) * outputs + output
                }
            }
    }
}

/// The weights and biases of a network, in the order of the golden data.
pub struct Tensors {
    all: Vec<Tensor>,
    /// Numbers of all parameters, those that are in no tensor among them.
    size: usize,
}

/// A layer with a weight and a bias.
pub struct Layer {
    /// In the golden data.
    pub name: String,
    /// In the parameters here.
    pub path: String,
    /// Channels of the images that a dense layer reads, which lie one after the other in PyTorch; 1 for other numbers.
    pub channels: usize,
}

impl Tensors {
    /// Those of `layers`, which are layers of the parameters `structure`.
    pub fn new<P: Tree>(structure: &P, layers: &[Layer]) -> Tensors {
        let (paths, types) = (leaf_paths(structure), leaf_types(structure));
        let starts = types.iter().scan(0, |start, array_type| {
            *start += array_type.size();
            Some(*start - array_type.size())
        });
        let starts: Vec<usize> = starts.collect();
        let mut all = Vec::new();
        for Layer { name, path, channels } in layers {
            for (part, torch) in [("kernel", "weight"), ("bias", "bias")] {
                let place = paths.iter().position(|other| *other == format!("{path}.{part}"));
                let place = place.expect("the network has these layers");
                let layout = match types[place].shape[..] {
                    [_] => Layout::Bias,
                    [inputs, outputs] => Layout::Linear { inputs, outputs, channels: *channels },
                    [.., inputs, outputs] => Layout::Conv { inputs, outputs },
                    [] => unreachable!("a parameter of a layer has an axis"),
                };
                let (start, size) = (starts[place], types[place].size());
                all.push(Tensor { name: format!("{name}.{torch}"), start, size, layout });
            }
        }
        Tensors { all, size: types.iter().map(|array_type| array_type.size()).sum() }
    }

    /// Numbers of all parameters.
    pub fn size(&self) -> usize {
        self.size
    }

    /// All parameters as one vector, from PyTorch's tensors; what is in none of them is 0.
    fn vector(&self, value: impl Fn(&Tensor, usize) -> Result<f32>) -> Result<Vec<f32>> {
        let mut vector = vec![0.0; self.size];
        for tensor in &self.all {
            for index in 0..tensor.size {
                vector[tensor.place(index)] = value(tensor, index)?;
            }
        }
        Ok(vector)
    }

    /// From stored tensors.
    ///
    /// # Errors
    /// One line: a tensor is not there, or too short.
    pub fn stored(&self, tensors: &BTreeMap<String, Value>) -> Result<Vec<f32>> {
        let flat: BTreeMap<&str, Vec<f64>> =
            tensors.iter().map(|(name, value)| (name.as_str(), flat(value))).collect();
        self.vector(|tensor, index| {
            let values = flat.get(tensor.name.as_str()).with_context(|| format!("no {}", tensor.name))?;
            let value = values.get(index).with_context(|| format!("{} is too short", tensor.name))?;
            Ok(*value as f32)
        })
    }

    /// By the formula of the golden data: numbers within `scale` / sqrt(fan_in); the tensors' numbers begin with `first`.
    pub fn by_formula(&self, first: u32, scale: f64) -> Vec<f32> {
        let vector = self.vector(|tensor, index| {
            let number = self.all.iter().position(|other| other.name == tensor.name).expect("it is one");
            let scale = scale / (self.fan_in(tensor) as f64).sqrt();
            let seed = (number as u32 + first + 1).wrapping_mul(97_531);
            let mut hash = (index as u32 + 1).wrapping_mul(2_654_435_761).wrapping_add(seed);
            hash ^= hash >> 16;
            hash = hash.wrapping_mul(2_246_822_519);
            hash ^= hash >> 13;
            Ok(((f64::from(hash) / 4_294_967_296.0 - 0.5) * 2.0 * scale) as f32)
        });
        vector.expect("the formula has all numbers")
    }

    /// The numbers that one output of a tensor's layer is computed from.
    fn fan_in(&self, tensor: &Tensor) -> usize {
        let weight = tensor.name.replace(".bias", ".weight");
        match self.all.iter().find(|tensor| tensor.name == weight).map(|tensor| &tensor.layout) {
            Some(Layout::Linear { inputs, .. }) => *inputs,
            Some(Layout::Conv { inputs, .. }) => 9 * inputs,
            _ => panic!("{weight} is a weight"),
        }
    }

    /// Adds to each number of a tensor in a vector of all parameters.
    ///
    /// # Errors
    /// One line: there is no such tensor.
    pub fn shift(&self, name: &str, vector: &mut [f32], by: f32) -> Result<()> {
        let Tensor { start, size, .. } = *self.find(name)?;
        vector[start..start + size].iter_mut().for_each(|number| *number += by);
        Ok(())
    }

    /// The numbers of a tensor in PyTorch's order, of a vector of all parameters.
    ///
    /// # Errors
    /// One line: there is no such tensor.
    pub fn of(&self, name: &str, vector: &[f64]) -> Result<Vec<f64>> {
        let tensor = self.find(name)?;
        Ok((0..tensor.size).map(|index| vector[tensor.place(index)]).collect())
    }

    fn find(&self, name: &str) -> Result<&Tensor> {
        let tensor = self.all.iter().find(|tensor| tensor.name == name);
        tensor.with_context(|| format!("the golden data has an unknown tensor {name}"))
    }
}
