//! Which device a command runs on: the flags that the commands beside `train` share.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::runtime::plugin::{self, PluginFile};
use crate::runtime::{Client, DeviceKind};
use crate::trainer::Stage;

use crate::training::learner::COMPILING;

/// Which device computes, and with what.
#[derive(Debug, Args)]
pub struct Device {
    /// Kind of device: cpu, cuda or tpu [default: the best that is present]
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    device: Option<DeviceKind>,
    /// PJRT plugin to load instead of searching for one
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Compute everything with the plugin's own code, nothing with native kernels
    #[arg(long)]
    pub no_kernels: bool,
    /// Compile every equation on small arrays by itself, none of them together into one kernel (on cpu)
    #[arg(long)]
    pub no_clusters: bool,
}

impl Device {
    /// The plugin for the device.
    ///
    /// # Errors
    /// There is none.
    pub fn plugin(&self) -> Result<PluginFile> {
        Ok(plugin::find(self.device, self.plugin.as_deref())?)
    }

    /// The client, with what it is to have of kernels and clusters.
    pub fn choose(&self, client: Client) -> Client {
        client.with_kernels(!self.no_kernels).with_clusters(!self.no_clusters)
    }

    /// One such device, and the stage that begins with `what` and says when a program is compiled.
    ///
    /// # Errors
    /// There is none, or it cannot be used.
    pub fn open(&self, what: &str) -> Result<(Client, Stage)> {
        let plugin = self.plugin()?; // which may be installed, and that is told in lines of its own
        let stage = Stage::begin(what, None);
        let client = self.choose(Client::open(&plugin, 1)?);
        Ok((client.observed(stage.changer(COMPILING)), stage))
    }
}
