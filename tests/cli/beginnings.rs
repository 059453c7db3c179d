//! What a run begins with and what its files say: `--init-from` and `--save-metadata`.

use std::path::{Path, PathBuf};

use lockstep::algorithms::NamedArrays;
use lockstep::trainer::load_params;
use tempfile::TempDir;

use super::{Done, run, trained, trained_file};

/// Trains for one update of 32 steps with a rate at which nothing moves.
fn train(folder: &Path, name: &str, more: &str) -> Done {
    let place = folder.to_str().unwrap();
    let usual = "train --env cartpole --num-envs 4 --num-steps 8 --hidden-dim 8 --total-timesteps 32 --device cpu --no-wandb --lr 1e-12";
    // What is said besides stands in the place of what is usual.
    let more: Vec<&str> = more.split_whitespace().collect();
    let usual: Vec<&str> = usual.split_whitespace().collect();
    let kept = usual[1..]
        .split_inclusive(|word| !word.starts_with("--"))
        .filter(|pair| !more.contains(&pair[0]))
        .flatten()
        .copied();
    let words: Vec<&str> = ["train"].into_iter().chain(kept).chain(more.iter().copied()).collect();
    run(&[&words[..], &["--checkpoint-dir", place, "--run-name", name]].concat())
}

fn params(path: PathBuf) -> NamedArrays {
    load_params(&path).unwrap().0
}

/// The largest difference between two files of parameters.
fn difference(a: &NamedArrays, b: &NamedArrays) -> f64 {
    assert_eq!(
        a.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        b.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
    let pairs = a.iter().zip(b).flat_map(|((_, a), (_, b))| a.to_f64().into_iter().zip(b.to_f64()));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn a_new_run_begins_with_what_another_one_has_learned() {
    let folder = TempDir::new().unwrap();
    let learned = params(trained().join("final_params.safetensors"));
    let run_dir = trained().to_str().unwrap().to_owned();
    train(folder.path(), "plain", "").stdout();
    let of = |name: &str| params(folder.path().join(name).join("final_params.safetensors"));
    assert!(difference(&of("plain"), &learned) > 0.01);
    // By a run, a file of parameters and a checkpoint.
    for (name, from) in [
        ("a", run_dir),
        ("b", trained_file("final_params.safetensors")),
        ("c", trained_file("checkpoint_10.ckpt")),
    ] {
        let done = train(folder.path(), name, &format!("--init-from {from} --seed 5"));
        assert_eq!(done.status, Some(0), "{}", done.stderr);
        assert!(done.stderr.contains("the parameters at the start are those in "), "{}", done.stderr);
        assert!(difference(&of(name), &learned) < 1e-6, "{name}");
    }
    // Each agent of a group does; its optimizer and its counters are new.
    train(folder.path(), "g", &format!("--init-from {} --num-seeds 2", trained().display())).stdout();
    for name in ["g-s0", "g-s1"] {
        assert!(difference(&of(name), &learned) < 1e-6, "{name}");
    }
    let (_, metadata) = load_params(&folder.path().join("a/final_params.safetensors")).unwrap();
    assert_eq!(metadata["update"], "1");
}

#[test]
fn a_target_network_begins_like_its_network() {
    let folder = TempDir::new().unwrap();
    let dqn = "--algo dqn --learning-starts 1000 --batch-size 8";
    train(folder.path(), "first", dqn).stdout();
    let first = folder.path().join("first");
    train(folder.path(), "second", &format!("{dqn} --seed 7 --init-from {}", first.display())).stdout();
    let learned = params(first.join("final_params.safetensors"));
    let state = params(folder.path().join("second/checkpoint_1.ckpt"));
    for network in ["online.first", "target.first"] {
        for (name, array) in &learned {
            let place = name.replacen("params", network, 1);
            let (_, found) = state.iter().find(|(other, _)| *other == place).unwrap();
            assert_eq!(found, array, "{place}");
        }
    }
}

#[test]
fn parameters_that_do_not_fit_are_named() {
    let folder = TempDir::new().unwrap();
    let from = trained().to_str().unwrap();
    let done = train(folder.path(), "a", &format!("--init-from {from} --hidden-dim 16"));
    done.fails(
        1,
        &[
            "cannot begin with ",
            "final_params.safetensors: ",
            "is f32[",
            "] in them, and f32[",
            "] in this run",
        ],
    );
    let done = train(folder.path(), "a", &format!("--init-from {from} --num-layers 1"));
    done.fails(1, &["they have an array params.", "and the network of this run has none of that name"]);
    let done = train(folder.path(), "a", &format!("--init-from {from} --rnn gru --rnn-dim 4"));
    done.fails(1, &["they have no array params.", "which this run needs"]);
    train(folder.path(), "a", "--init-from nowhere").fails_in_one_line(2, &["there is no run nowhere"]);
    train(folder.path(), "b", "").stdout();
    let place = folder.path().to_str().unwrap();
    run(&["train", "--resume", "b", "--checkpoint-dir", place, "--init-from", from, "--no-wandb"])
        .fails_in_one_line(2, &["init_from is not set in the run b and cannot become"]);
}

#[test]
fn files_of_parameters_say_what_they_were_told_to() {
    let folder = TempDir::new().unwrap();
    train(folder.path(), "a", "--save-metadata note=first,try --save-metadata formula=a=b").stdout();
    for file in ["final_params.safetensors", "params_1.safetensors"] {
        let (_, metadata) = load_params(&folder.path().join("a").join(file)).unwrap();
        let of = |key: &str| metadata[key].as_str();
        assert_eq!(
            [of("note"), of("formula"), of("env"), of("update")],
            ["first,try", "a=b", "cartpole", "1"]
        );
    }
    let wrong = |more: &str, part: &str| train(folder.path(), "b", more).fails_in_one_line(2, &[part]);
    wrong("--save-metadata note", "save_metadata is \"note\"; write it as KEY=VALUE");
    wrong("--save-metadata a=1 --save-metadata a=2", "save_metadata has the key a twice");
    for own in ["env", "hidden_dim", "update"] {
        wrong(
            &format!("--save-metadata {own}=1"),
            &format!("save_metadata has the key {own}, which files of parameters have anyway"),
        );
    }
}
