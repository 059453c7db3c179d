//! The crate that `lockstep new` writes: its code is compiled here as it stands, and its program plays.

use std::ffi::OsString;
use std::process::ExitCode;

use lockstep::App;
use lockstep::envs::{Entry, boxed};

#[path = "../src/cli/new/template/env.rs"]
pub mod env;
#[path = "../src/cli/new/template/painter.rs"]
mod painter;

fn entry() -> Entry {
    Entry::new(env::NAME, "a grid world", || boxed(env::GridWorld))
        .painted(|| Box::new(painter::GridPainter))
        .defaults("num_envs = 64\nnum_steps = 32\nent_coef = 0.01\nhidden_dim = 64")
}

/// Runs the program with these words.
#[track_caller]
pub fn run(words: &str) {
    let args = ["mygame"].into_iter().chain(words.split(' ')).map(OsString::from);
    let status = App::new("mygame").env(entry()).main_with(args);
    assert_eq!(format!("{status:?}"), format!("{:?}", ExitCode::SUCCESS), "mygame {words}");
}

#[test]
fn the_program_trains_evaluates_and_shows_its_environment() {
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().display();
    run("envs");
    run("eval random --episodes 8 --max-steps 60 --json");
    run(&format!(
        "train --num-envs 8 --num-steps 16 --total-timesteps 1024 --no-wandb --checkpoint-dir {runs} --run-name a"
    ));
    run(&format!("eval {runs}/a/final_params.safetensors --episodes 8 --max-steps 60 --json"));
    run(&format!("watch {runs}/a/final_params.safetensors --episodes 1 --max-steps 5"));
}

#[test]
fn the_painter_draws_the_map() {
    use lockstep::array::HostArray;
    use lockstep::envs::painter::{Frame, Painter};
    let state = [
        ("cell".to_owned(), HostArray::new(&[1], vec![8i32])),
        ("time".to_owned(), HostArray::new(&[1], vec![3i32])),
    ];
    let picture = painter::GridPainter.paint(&Frame { state: &state, obs: &[] });
    assert_eq!(picture.board.len(), env::MAP.len());
    assert_eq!(picture.board[1].to_string(), "██@ · · ██★ ██");
}
