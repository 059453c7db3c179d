use std::process::ExitCode;

use lockstep::{App, envs};

fn main() -> ExitCode {
    App::new("lockstep").envs(envs::builtin()).main()
}
