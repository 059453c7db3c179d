//! What can be wrong with a library: one line with its path that says what to do.

use std::fs;

use super::{Runs, cartpole, library, named};
use crate::cli::run;

/// Libraries that are refused when they are loaded, by what they are compiled with.
const REFUSED: &[(&str, &str)] = &[
    (
        "-DABI=99",
        "it is built with version 99 of lockstep_env.h, and this program has version 1; build it again",
    ),
    ("-DNO_MAKE", "it exports no function lockstep_env_make"),
    ("-DGIVES_NULL", "lockstep_env_make gives NULL"),
    ("-DNO_STEP", "the function step is NULL; every environment needs it"),
    ("-DSTATE_SIZE=-8", "state_size is -8; it must be from 1 to "),
    ("-DACTIONS=0", "num_actions is 0; it must be from 1 to "),
    ("-DRANK=9", "obs_rank is 9; it must be from 1 to 4"),
    ("-DROWS=-2", "a size in obs_shape is -2; it must be from 1 to "),
    ("-DNAME=\"a b\"", "name is \"a b\"; it must be 1 to 64 letters, digits, _ and -"),
    ("-DUNWRITTEN", "observe gives NaN as number 1 of environment 0; it must be finite"),
    ("-DIMPURE", "the same seeds and actions give other states"),
    ("-DNOTHING_ALLOWED", "mask allows no action in environment 0"),
    ("-DFAILS_AFTER=0", "step failed: the walker is tired (error 7)"),
];

#[test]
fn what_a_library_lacks_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for (number, (define, line)) in REFUSED.iter().enumerate() {
        let mut defines = vec![*define, "-Wno-error"];
        if *define == "-DNO_STEP" {
            defines.push("-Wno-unused-function");
        }
        let source = "tests/native/walk.c";
        let Some(path) = library(source, folder.path(), &format!("lib{number}.so"), &defines) else { return };
        let parts = [path.to_str().unwrap(), line];
        run(&["envs", &named(&path)]).fails_in_one_line(2, &parts);
        run(&["train", "--env", &named(&path)]).fails_in_one_line(2, &parts);
    }
}

#[test]
fn what_is_no_library_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.so");
    fs::write(&text, "no library").unwrap();
    run(&["envs", &named(&text)]).fails_in_one_line(2, &["text.so: it cannot be loaded as a library: "]);
    let away = folder.path().join("away.so");
    run(&["bench", "--env", &named(&away)])
        .fails_in_one_line(2, &["away.so: there is no such file; build or link"]);
    run(&["train", "--env", "native:"]).fails_in_one_line(2, &["native: names no library"]);
}

#[test]
fn what_goes_wrong_in_a_run_ends_it_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for (name, define, devices, line) in [
        ("tired", "-DFAILS_AFTER=5", "1", "step failed: the walker is tired (error 7)"),
        // On one device first, for which the other one must not wait.
        ("somewhere", "-DFAILS_SOMEWHERE", "2", "step failed: the walker is tired (error 7)"),
        ("nan", "-DNAN_OBS", "2", "observe gives NaN as number 1 of environment "),
    ] {
        let Some(path) = library("tests/native/walk.c", folder.path(), &format!("{name}.so"), &[define])
        else {
            return;
        };
        let runs = Runs::new();
        let env = named(&path);
        let words =
            ["train", "--env", &env, "--num-envs", "4", "--num-steps", "8", "--device", "cpu", "--no-wandb"];
        let more = ["--total-timesteps", "32000", "--devices", devices, "--checkpoint-dir", runs.folder()];
        let done = run(&[&words[..], &more].concat());
        done.fails(1, &[path.to_str().unwrap(), line]);
    }
}

#[test]
fn a_library_that_is_gone_or_cannot_be_called_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = library("docs/native/cartpole.c", folder.path(), "libgone.so", &[]) else { return };
    let (env, runs) = (named(&path), Runs::new());
    runs.begin(&env, "gone", 5, "");
    fs::remove_file(&path).unwrap();
    let (place, run_path) = (runs.folder(), runs.path("gone"));
    let missing = [path.to_str().unwrap(), "there is no such file; build or link the library there"];
    run(&["train", "--resume", "gone", "--checkpoint-dir", place, "--no-wandb"]).fails(2, &missing);
    run(&["eval", run_path.to_str().unwrap(), "--device", "cpu"]).fails(1, &missing);
    let elsewhere = named(&cartpole().unwrap());
    let eval =
        ["eval", run_path.to_str().unwrap(), "--env", &elsewhere, "--episodes", "2", "--device", "cpu"];
    run(&eval).stdout();

    let plain = ["bench", "--env", &elsewhere, "--env-only", "--device", "cpu", "--no-kernels"];
    run(&plain).fails(1, &["libcartpole.so is called as native kernels are; leave out --no-kernels"]);
    run(&["compile", "--env", &elsewhere, "--topology", "v5e:2x2"])
        .fails_in_one_line(2, &["is a library for the processor; there is nothing to compile for v5e:2x2"]);
}
