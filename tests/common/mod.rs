//! What several tests share.

use std::sync::OnceLock;

use lockstep::array::HostArray;
use lockstep::ir::Graph;
use lockstep::lower::{Options, lower};
use lockstep::runtime::{Client, CompileOptions, DeviceKind, plugin};

/// The CPU, shared by all tests of the process, with two devices.
pub fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| Client::open(&plugin::find(Some(DeviceKind::Cpu), None).unwrap(), 2).unwrap())
}

/// Compiles and runs a graph.
pub fn run_on_device(graph: &Graph, inputs: &[HostArray]) -> Vec<HostArray> {
    let module = lower(graph, &Options { num_replicas: 1, ..Options::default() });
    let program = client().compile(&module, &CompileOptions::default()).unwrap();
    let args = inputs.iter().map(|array| client().to_device(array, 0).unwrap().into()).collect();
    program.run(args).unwrap().iter().map(|buffer| buffer.to_host().unwrap()).collect()
}

/// The program itself, to be run as a user would. It logs to no server, whatever the environment says.
pub fn lockstep() -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lockstep"));
    for variable in ["WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "WANDB_BASE_URL"] {
        command.env_remove(variable);
    }
    command
}
