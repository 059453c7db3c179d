//! Convolutions over images.
//!
//! Kernels are square, 3 x 3 unless told otherwise. Around the image lie zeros, so that its border counts as much as its middle, or
//! none: then a kernel looks only where it lies within the image whole. A layer of stride 1 looks at every place; with stride 2 it
//! looks at every second one, which halves the image.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::envs::EnvSpec;
use crate::lang::{Conv2d, Float, Key, Padding, conv2d};

use super::{Activation, Dense, Init, LayerSpec};

/// Rows and columns of a kernel, unless told otherwise.
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

/// One convolution, in text `32`; `32:8` with another kernel than 3 x 3, `32/2` with another stride than 1, `32v` without zeros
/// around the image, `32:8/4v` with all three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ConvSpec {
    pub filters: usize,
    /// Rows, and columns, of the kernel.
    pub kernel: usize,
    /// Rows and columns from one place that it looks at to the next.
    pub stride: usize,
    /// Zeros around the image, so many that a layer of stride 1 keeps its size; without them the image shrinks.
    pub padded: bool,
}

impl ConvSpec {
    /// The usual convolution: 3 x 3, of stride 1, with zeros around the image.
    pub fn usual(filters: usize) -> ConvSpec {
        ConvSpec { filters, kernel: KERNEL, stride: 1, padded: true }
    }

    fn options(self) -> Conv2d {
        let padding = if self.padded { Padding::Same } else { Padding::Valid };
        Conv2d { strides: [self.stride; 2], padding, ..Conv2d::default() }
    }

    /// Places along an axis of the image that has `size` of them; nothing if the kernel does not fit into it.
    fn places(self, size: usize) -> Option<usize> {
        match self.padded {
            true => Some(size.div_ceil(self.stride)),
            false => Some(size.checked_sub(self.kernel)? / self.stride + 1),
        }
    }
}

impl fmt::Display for ConvSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConvSpec { filters, kernel, stride, padded } = *self;
        write!(f, "{filters}")?;
        if kernel != KERNEL {
            write!(f, ":{kernel}")?;
        }
        if stride != 1 {
            write!(f, "/{stride}")?;
        }
        f.write_str(if padded { "" } else { "v" })
    }
}

impl FromStr for ConvSpec {
    type Err = NotAConv;

    fn from_str(text: &str) -> Result<ConvSpec, NotAConv> {
        const MAX: usize = 1 << 12;
        let number = |text: &str| text.parse().ok().filter(|number| (1..=MAX).contains(number));
        let (layer, padded) = text.strip_suffix('v').map_or((text, true), |layer| (layer, false));
        let (layer, stride) =
            layer.split_once('/').map_or((layer, Some(1)), |(l, stride)| (l, number(stride)));
        let (filters, kernel) =
            layer.split_once(':').map_or((layer, Some(KERNEL)), |(l, kernel)| (l, number(kernel)));
        let spec = || Some(ConvSpec { filters: number(filters)?, kernel: kernel?, stride: stride?, padded });
        spec().ok_or_else(|| NotAConv(text.to_owned()))
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

/// Convolutions one after the other, in text `32,64/2`, and `none` for none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Convs(pub Vec<ConvSpec>);

impl fmt::Display for Convs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers: Vec<String> = self.0.iter().map(ConvSpec::to_string).collect();
        f.write_str(if layers.is_empty() { "none" } else { "" })?;
        f.write_str(&layers.join(","))
    }
}

impl FromStr for Convs {
    type Err = NotAConv;

    fn from_str(text: &str) -> Result<Convs, NotAConv> {
        match text {
            "" | "none" => Ok(Convs::default()),
            _ => text.split(',').map(str::parse).collect::<Result<_, _>>().map(Convs),
        }
    }
}

/// A text that is no [`ConvSpec`].
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "`{0}` is no convolution; write its filters, its kernel if that is not 3 x 3 and its stride if that is not 1, each from 1 to \
     4096: 32, 32:8, 32/2 or 32:8/4, and a v at the end for no zeros around the image"
)]
pub struct NotAConv(String);

/// The parameters of one convolution.
#[derive(Clone, Copy, Debug)]
pub struct Conv {
    /// `[rows, columns, in, out]`
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

    /// What the observations of an environment are, where there are layers over them.
    ///
    /// # Errors
    /// One line: they are no images, or too small ones for the kernels.
    pub fn required(spec: &EnvSpec, layout: Channels, layers: &[ConvSpec]) -> Result<Option<Image>> {
        if layers.is_empty() {
            return Ok(None);
        }
        let EnvSpec { name, obs_shape, .. } = spec;
        let image = Image::of(obs_shape, layout).with_context(|| {
            format!(
                "conv needs observations that are images, of 2 or 3 axes; those of {name} have the shape {obs_shape:?}"
            )
        })?;
        let mut size = (image.height, image.width);
        for layer in layers {
            let (height, width) = size;
            size = layer.places(height).zip(layer.places(width)).with_context(|| {
                format!("the convolution {layer} does not fit into the image of {height} x {width} that it gets; take a smaller kernel, or zeros around it (no v)")
            })?;
        }
        Ok(Some(image))
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
            (*height, *width) = layer.places(*height).zip(layer.places(*width))?;
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
    let inputs = std::iter::once(channels).chain(layers.iter().map(|layer| layer.filters));
    let shapes: Vec<[usize; 4]> = inputs
        .zip(layers)
        .map(|(inputs, layer)| [layer.kernel, layer.kernel, inputs, layer.filters])
        .collect();
    let spec = |&[rows, columns, inputs, outputs]: &[usize; 4]| LayerSpec {
        inputs: rows * columns * inputs,
        outputs,
        gain: std::f64::consts::SQRT_2,
    };
    let dense = init.layers(key, &shapes.iter().map(spec).collect::<Vec<_>>());
    let conv = |(layer, &shape): (Dense, &[usize; 4])| Conv {
        kernel: layer.kernel.reshape(shape),
        bias: layer.bias,
    };
    dense.into_iter().zip(&shapes).map(conv).collect()
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
        let y = conv2d(*x, layer.kernel, spec.options());
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
    fn layers_are_a_list_or_none() {
        let layers = "32,64:8/2v".parse::<Convs>().unwrap();
        assert_eq!((layers.0.len(), layers.to_string().as_str()), (2, "32,64:8/2v"));
        for none in ["none", ""] {
            assert_eq!(none.parse::<Convs>().unwrap(), Convs::default());
        }
        assert_eq!(Convs::default().to_string(), "none");
        assert!("32,,64".parse::<Convs>().is_err());
    }

    #[test]
    fn sizes_are_those_of_the_layers() {
        for (shape, layout) in [
            (vec![10, 7, 2], Channels::Last),
            (vec![2, 10, 7], Channels::First),
            (vec![10, 7], Channels::First),
        ] {
            let image = Image::of(&shape, layout).unwrap();
            for text in ["4", "4,5/2", "4/2,5,6/3", "4v", "4:4v,5:2/2v", "6:5/2,3:1"] {
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
    fn a_layer_is_its_filters_its_kernel_its_stride_and_its_padding() {
        for (text, filters, kernel, stride, padded) in [
            ("32", 32, 3, 1, true),
            ("64/2", 64, 3, 2, true),
            ("64:4", 64, 4, 1, true),
            ("32:8/4v", 32, 8, 4, false),
            ("7v", 7, 3, 1, false),
        ] {
            let spec: ConvSpec = text.parse().unwrap();
            assert_eq!(
                (spec, spec.to_string().as_str()),
                (ConvSpec { filters, kernel, stride, padded }, text)
            );
        }
        for text in [
            "", "0", "32/0", "32/", "x", "5000", "32/2/2", "-1", "v", "32:", "32:0", "32/2:3", "32vv",
            "32v/2",
        ] {
            let error = text.parse::<ConvSpec>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is no convolution; ")), "{error}");
        }
    }
}
