//! `lockstep devices`: what this machine can compute on, and with which plugins.

use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde::Serialize;

use crate::runtime::plugin::{self, PluginFile};
use crate::runtime::{Client, DeviceKind};

use super::table::table;
use super::{print, print_line};

/// How to show them.
#[derive(Debug, Args)]
struct Devices {
    /// Print a JSON array on stdout
    #[arg(long)]
    json: bool,
}

pub fn command() -> Command {
    Devices::augment_args(Command::new("devices"))
        .about("List what this machine can compute on, the best first")
        .after_help("Without --device, the first kind that is present and has a plugin is used.")
}

/// Lists.
///
/// # Errors
/// Output that cannot be written. A plugin that does not work is part of the list.
pub fn run(matches: &ArgMatches) -> Result<()> {
    let Devices { json } = Devices::from_arg_matches(matches)?;
    let plugins = plugin::list();
    let lines: Vec<Line> = DeviceKind::BEST_FIRST.into_iter().map(|kind| Line::of(kind, &plugins)).collect();
    if json {
        return print_line(serde_json::to_string(&lines)?);
    }
    let default = lines.iter().position(|line| line.count > 0);
    let row = |(index, line): (usize, &Line)| {
        let used = if Some(index) == default { "yes" } else { "" };
        let plugin = line.plugin.as_ref().map_or(String::new(), |file| file.path.display().to_string());
        let (count, note) = (line.count.to_string(), line.note.clone());
        vec![line.kind.to_string(), count, line.name.clone(), used.into(), note, plugin]
    };
    let rows: Vec<_> = lines.iter().enumerate().map(row).collect();
    print(&table(&["kind", ">devices", "name", "default", "state", "plugin"], &rows))
}

/// One kind of device.
#[derive(Debug, Serialize)]
struct Line {
    kind: DeviceKind,
    /// Devices that can be used; of cpu, the cores.
    count: usize,
    /// The vendor's name of them.
    name: String,
    /// Whether they can be used, and if not, what to do.
    note: String,
    plugin: Option<PluginFile>,
}

impl Line {
    fn of(kind: DeviceKind, plugins: &[PluginFile]) -> Self {
        let plugin = plugins.iter().find(|file| file.kind == kind).cloned();
        let line = |count, name: &str, note: String| Self {
            kind,
            count,
            name: name.into(),
            note,
            plugin: plugin.clone(),
        };
        if !kind.is_present() {
            return line(0, "", "there is none".into());
        }
        let Some(file) = &plugin else {
            let note = format!("no plugin: lockstep plugin install {}", kind.install_target());
            // The plugin for cpu is installed by the first run.
            return line(usize::from(kind == DeviceKind::Cpu) * cores(), "", note);
        };
        match Client::open(file, 1) {
            Ok(client) if kind == DeviceKind::Cpu => line(cores(), client.device_kind(), "ready".into()),
            Ok(client) => line(client.devices(), client.device_kind(), "ready".into()),
            Err(error) => line(0, "", error.to_string().replace('\n', " ")),
        }
    }
}

/// The cores that a computation on cpu can use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
