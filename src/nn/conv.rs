//! Convolutions over images.
//!
//! All kernels are 3 x 3, with zeros around the image so that its border counts as much as its middle. A layer of stride 1 looks at
//! every place; with stride 2 it looks at every second one, which halves the image.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::envs::EnvSpec;
use crate::lang::{Conv2d, Float, Key, Padding, conv2d};

use super::{Activation, Dense, Init, LayerSpec};

/// Rows and columns of a kernel.
const KERNEL: usize = 3;

/// Where the channels of an image stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// [height, width, channels]
    #[default]
    Last,
    /// [channels, height, width]
    First,
}

impl fmt::Display for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Channels::Last => "last",
            Channels::First => "first",
        })
    }
}

/// One convolution, in text `32`, or `32/2` with another stride than 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ConvSpec {
    pub filters: usize,
    /// Rows and columns from one place that it looks at to the next.
    pub stride: usize,
}

impl fmt::Display for ConvSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stride {
            1 => write!(f, "{}", self.filters),
            stride => write!(f, "{}/{stride}", self.filters),
        }
    }
}

impl FromStr for ConvSpec {
    type Err = NotAConv;

    fn from_str(text: &str) -> Result<ConvSpec, NotAConv> {
        const MAX: usize = 1 << 12;
        let number = |text: &str| text.parse().ok().filter(|number| (1..=MAX).contains(number));
        let (filters, stride) = text.split_once('/').unwrap_or((text, "1"));
        let spec = number(filters).zip(number(stride)).map(|(filters, stride)| ConvSpec { filters, stride });
        spec.ok_or_else(|| NotAConv(text.to_owned()))
    }
}

impl From<ConvSpec> for String {
    fn from(spec: ConvSpec) -> String {
        spec.to_string()
    }
}

impl TryFrom<String> for ConvSpec {
    type Error = NotAConv;

    fn try_from(text: String) -> Result<ConvSpec, NotAConv> {
        text.parse()
    }
}

/// A text that is no [`ConvSpec`].
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "`{0}` is no convolution; write its filters from 1 to 4096, and its stride if that is not 1: 32 or 32/2"
)]
pub struct NotAConv(String);

/// The parameters of one convolution.
#[derive(Clone, Copy, Debug)]
pub struct Conv {
    /// `[3, 3, in, out]`
    pub kernel: Float,
    /// `[out]`
    pub bias: Float,
}
crate::tree!(Conv { kernel, bias });

/// The size of an image, and how its numbers lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    layout: Channels,
}

impl Image {
    /// What observations of that shape are; nothing if they are no images. Without channels there is one.
    pub fn of(shape: &[usize], layout: Channels) -> Option<Image> {
        match (shape, layout) {
            (&[height, width], _) => Some(Image { height, width, channels: 1, layout: Channels::Last }),
            (&[height, width, channels], Channels::Last) | (&[channels, height, width], Channels::First) => {
                Some(Image { height, width, channels, layout })
            }
            _ => None,
        }
    }

    /// What the observations of an environment are.
    ///
    /// # Errors
    /// One line: they are no images.
    pub fn required(spec: &EnvSpec, layout: Channels) -> Result<Image> {
        let EnvSpec { name, obs_shape, .. } = spec;
        Image::of(obs_shape, layout).with_context(|| {
            format!(
                "conv needs observations that are images, of 2 or 3 axes; those of {name} have the shape {obs_shape:?}"
            )
        })
    }

    /// Images `[N, height, width, channels]` of flat observations `[N, height x width x channels]`.
    #[track_caller]
    pub fn arrange(&self, flat: Float) -> Float {
        let (rows, &Image { height, width, channels, .. }) = (flat.shape()[0], self);
        match self.layout {
            Channels::Last => flat.reshape([rows, height, width, channels]),
            Channels::First => flat.reshape([rows, channels, height, width]).transpose([0, 2, 3, 1]),
        }
    }

    /// Numbers that come out of each of the layers.
    fn sizes(self, layers: &[ConvSpec]) -> impl Iterator<Item = usize> {
        layers.iter().scan((self.height, self.width), |(height, width), layer| {
            (*height, *width) = (height.div_ceil(layer.stride), width.div_ceil(layer.stride));
            Some(*height * *width * layer.filters)
        })
    }

    /// Numbers that come out of the last of the layers.
    pub fn outputs(self, layers: &[ConvSpec]) -> usize {
        self.sizes(layers).last().unwrap_or(self.height * self.width * self.channels)
    }

    /// Numbers that come out of all layers together.
    pub fn activations(self, layers: &[ConvSpec]) -> usize {
        self.sizes(layers).sum()
    }
}

/// Fresh parameters of the layers over images of so many channels.
#[track_caller]
pub fn init(init: Init, key: Key, channels: usize, layers: &[ConvSpec]) -> Vec<Conv> {
    let outputs = layers.iter().map(|layer| layer.filters);
    let sizes: Vec<(usize, usize)> = std::iter::once(channels).chain(outputs.clone()).zip(outputs).collect();
    let spec = |&(inputs, outputs): &(usize, usize)| LayerSpec {
        inputs: KERNEL * KERNEL * inputs,
        outputs,
        gain: std::f64::consts::SQRT_2,
    };
    let dense = init.layers(key, &sizes.iter().map(spec).collect::<Vec<_>>());
    let conv = |(layer, &(inputs, outputs)): (Dense, &(usize, usize))| Conv {
        kernel: layer.kernel.reshape([KERNEL, KERNEL, inputs, outputs]),
        bias: layer.bias,
    };
    dense.into_iter().zip(&sizes).map(conv).collect()
}

/// The layers over images `[N, height, width, channels]`, each with the activation, flattened: `[N, outputs]`.
#[track_caller]
pub fn torso(specs: &[ConvSpec], layers: &[Conv], activation: Activation, images: Float) -> Float {
    flat(outputs(specs, layers, activation, images).last().copied().unwrap_or(images))
}

/// What each of the layers makes of images, `[N, height, width, channels]` all of them.
#[track_caller]
pub fn outputs(specs: &[ConvSpec], layers: &[Conv], activation: Activation, images: Float) -> Vec<Float> {
    let layer = |x: &mut Float, (spec, layer): (&ConvSpec, &Conv)| {
        let options = Conv2d { strides: [spec.stride; 2], padding: Padding::Same, ..Conv2d::default() };
        let y = conv2d(*x, layer.kernel, options);
        let places = y.size() / spec.filters;
        let flat = y.reshape([places, spec.filters]) + layer.bias.broadcast(0, places);
        *x = activation.apply(flat).reshape(y.shape());
        Some(*x)
    };
    specs.iter().zip(layers).scan(images, layer).collect()
}

/// `[N, height, width, channels]` as `[N, numbers]`.
#[track_caller]
pub fn flat(images: Float) -> Float {
    let rows = images.shape()[0];
    images.reshape([rows, images.size() / rows])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::{arange, trace};

    #[test]
    fn sizes_are_those_of_the_layers() {
        for (shape, layout) in [
            (vec![10, 7, 2], Channels::Last),
            (vec![2, 10, 7], Channels::First),
            (vec![10, 7], Channels::First),
        ] {
            let image = Image::of(&shape, layout).unwrap();
            for text in ["4", "4,5/2", "4/2,5,6/3"] {
                let specs: Vec<ConvSpec> = text.split(',').map(|layer| layer.parse().unwrap()).collect();
                let traced = trace(&(), |()| {
                    let layers = init(Init::Lecun, Key::new(0), image.channels, &specs);
                    let flat = Float::full([3, shape.iter().product()], 1.0);
                    torso(&specs, &layers, Activation::Relu, image.arrange(flat))
                });
                assert_eq!(traced.output.shape(), [3, image.outputs(&specs)], "{shape:?} {text}");
            }
        }
        assert_eq!(Image::of(&[4], Channels::Last), None);
    }

    #[test]
    fn both_layouts_are_the_same_image() {
        let traced = trace(&(), |()| {
            let last = arange(24).as_f32().reshape([1, 24]); // [2, 3, 4]
            let first = last.reshape([2, 3, 4]).transpose([2, 0, 1]).reshape([1, 24]); // [4, 2, 3]
            let [a, b] = [(vec![2, 3, 4], Channels::Last), (vec![4, 2, 3], Channels::First)]
                .map(|(shape, layout)| Image::of(&shape, layout).unwrap());
            (a.arrange(last), b.arrange(first))
        });
        let images = interpret(&traced.graph, &[]);
        assert_eq!(images[0], images[1]);
    }

    #[test]
    fn a_layer_is_its_filters_and_its_stride() {
        for (text, filters, stride) in [("32", 32, 1), ("64/2", 64, 2)] {
            let spec: ConvSpec = text.parse().unwrap();
            assert_eq!((spec, spec.to_string().as_str()), (ConvSpec { filters, stride }, text));
        }
        for text in ["", "0", "32/0", "32/", "x", "5000", "32/2/2", "-1"] {
            let error = text.parse::<ConvSpec>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is no convolution; ")), "{error}");
        }
    }
}
