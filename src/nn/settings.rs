//! How an actor-critic is built, as settings and as the metadata of a parameter file.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{Activation, Channels, ConvSpec, Init, Rnn};

/// What is fixed about an actor-critic beside the environment's sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Units of each hidden layer.
    pub hidden_dim: usize,
    /// Hidden layers of each trunk.
    pub num_layers: usize,
    pub activation: Activation,
    /// Whether actor and critic have a trunk each.
    pub separate_trunks: bool,
    pub init: Init,
    /// The convolutions in front of everything else; none for observations that are no images.
    pub conv: Vec<ConvSpec>,
    /// Where the channels of an image stand.
    pub conv_channels: Channels,
    /// The cell in front of the trunks, if there is one.
    pub rnn: Option<Rnn>,
    /// Units of the cell.
    pub rnn_dim: usize,
    /// Whether the critic reads privileged observations where there are any.
    pub privileged_critic: bool,
    pub value_head: ValueHead,
}

/// The last layer of the critic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueHead {
    /// It gives values
    #[default]
    Simple,
    /// It gives values that are normalized with statistics of their targets (PopArt)
    Popart,
}

impl fmt::Display for ValueHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ValueHead::Simple => "simple",
            ValueHead::Popart => "popart",
        })
    }
}

impl Settings {
    /// As the metadata of a parameter file.
    pub fn metadata(&self) -> Vec<(String, String)> {
        let mut entries = vec![
            ("activation", self.activation.to_string()),
            ("hidden_dim", self.hidden_dim.to_string()),
            ("num_layers", self.num_layers.to_string()),
            ("separate_trunks", self.separate_trunks.to_string()),
        ];
        if !self.conv.is_empty() {
            let layers: Vec<String> = self.conv.iter().map(ConvSpec::to_string).collect();
            entries.push(("conv", layers.join(",")));
            entries.push(("conv_channels", self.conv_channels.to_string()));
        }
        if let Some(rnn) = self.rnn {
            entries.push(("rnn", rnn.to_string()));
            entries.push(("rnn_dim", self.rnn_dim.to_string()));
        }
        if self.value_head != ValueHead::Simple {
            entries.push(("value_head", self.value_head.to_string()));
        }
        entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The settings in the metadata of a parameter file. Files that do not say whether there are separate trunks are older than the
    /// entry; `has_trunk` says whether their arrays have a shared one.
    ///
    /// # Errors
    /// One line: an entry is missing or makes no sense.
    pub fn from_metadata(metadata: &BTreeMap<String, String>, has_trunk: bool) -> Result<Settings> {
        let activation =
            choice(metadata, "activation")?.context("it does not say its network's activation")?;
        let rnn = choice::<Rnn>(metadata, "rnn")?;
        Ok(Settings {
            hidden_dim: entry(metadata, "hidden_dim")?,
            num_layers: entry(metadata, "num_layers")?,
            activation,
            separate_trunks: match metadata.contains_key("separate_trunks") {
                true => entry(metadata, "separate_trunks")?,
                false => !has_trunk,
            },
            init: Init::Lecun, // of no meaning for parameters that exist
            conv: convolutions(metadata)?,
            conv_channels: choice(metadata, "conv_channels")?.unwrap_or_default(),
            rnn,
            rnn_dim: if rnn.is_some() { entry(metadata, "rnn_dim")? } else { 0 },
            privileged_critic: true, // how many numbers it reads is an entry of its own
            value_head: choice(metadata, "value_head")?.unwrap_or_default(),
        })
    }
}

/// The convolutions, none if there is no such entry.
pub(super) fn convolutions(metadata: &BTreeMap<String, String>) -> Result<Vec<ConvSpec>> {
    let Some(text) = metadata.get("conv") else { return Ok(Vec::new()) };
    let layers = text.split(',').map(str::parse).collect::<Result<_, _>>();
    layers.map_err(|error| anyhow!("its network's conv is {text}: {error}"))
}

/// One of the values of an enum, if the entry is there.
pub(super) fn choice<T: ValueEnum>(metadata: &BTreeMap<String, String>, key: &str) -> Result<Option<T>> {
    let Some(name) = metadata.get(key) else { return Ok(None) };
    let known = T::from_str(name, false);
    Ok(Some(known.map_err(|_| anyhow!("its network's {key} is {name}, which lockstep does not know"))?))
}

/// What an entry of the metadata says.
pub fn entry<T: FromStr<Err: Display>>(metadata: &BTreeMap<String, String>, key: &str) -> Result<T> {
    let value = metadata.get(key).with_context(|| format!("it does not say its network's {key}"))?;
    value.parse().map_err(|error| anyhow!("its network's {key} is {value}: {error}"))
}
