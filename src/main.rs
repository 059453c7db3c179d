use std::process::ExitCode;

use lockstep::{App, algorithms, envs};

fn main() -> ExitCode {
    App::new("lockstep").envs(envs::builtin()).algorithms(algorithms::builtin()).main()
}
