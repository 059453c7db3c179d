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

/// The same without native kernels, which the profile of the tests optimizes too little for long trainings;
/// `tests/kernels.rs` shows that agents learn the same with them.
pub fn plain_client() -> Client {
    client().clone().with_kernels(false)
}

/// Compiles and runs a graph.
pub fn run_on_device(graph: &Graph, inputs: &[HostArray]) -> Vec<HostArray> {
    let module = lower(graph, &Options::default(), client().target());
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

/// A process that ends with the test.
pub struct Ending(pub std::process::Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says that a test is skipped, and why; `scripts/test.sh` counts such lines in the file that `LOCKSTEP_SKIPPED` names.
pub fn skip(why: &str) {
    eprintln!("skipped: {why}");
    if let Some(path) = std::env::var_os("LOCKSTEP_SKIPPED") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, format!("{why}\n").as_bytes()).unwrap();
    }
}

/// Compares a text with the file of that name in tests/golden/; with UPDATE_GOLDEN=1 the file becomes the text.
#[track_caller]
pub fn golden(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, kept, "tests/golden/{name} has changed; UPDATE_GOLDEN=1 accepts it");
}
