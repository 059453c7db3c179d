//! What users do wrong: one line that says what to do, status 1 or 2, nothing lost.

use std::fs;
use std::path::Path;

use lockstep::trainer::{load_params, save_params};
use tempfile::TempDir;

use super::{Done, finish, lockstep, run, small_run, trained, trained_file};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/jax_env_spec/hackmatrix/golden.jsonl.gz");

#[test]
fn wrong_usage_is_status_2() {
    let cases: &[(&str, &[&str])] = &[
        ("trian", &["unrecognized subcommand 'trian'", "'train'"]),
        ("train --num-env 3", &["unexpected argument '--num-env'", "'--num-envs'"]),
        ("train --num-envs many", &["invalid value 'many' for '--num-envs <N>'"]),
        ("train --env cartpol", &["unknown environment `cartpol`", "did you mean `cartpole`?"]),
        ("train --device npu", &["invalid value 'npu'", "cpu, cuda, tpu"]),
        ("train --precision f16", &["invalid value 'f16' for '--precision <TYPE>'", "f32, tf32, bf16"]),
        ("train --env cartpole --num-envs 0", &["num_envs is 0; it must be from 1"]),
        ("train --env cartpole --num-envs 99999999999", &["num_envs is 99999999999; it must be from 1"]),
        ("train --env cartpole --num-envs 99999999999999999999", &["99999999999999999999"]),
        ("train --env cartpole --num-envs -4", &["-4"]),
        ("train --env cartpole --num-steps 0", &["num_steps is 0"]),
        ("train --env cartpole --num-envs 4194304 --num-steps 1048576", &["num_envs x num_steps"]),
        ("train --env cartpole --total-timesteps 0", &["total_timesteps is 0; it must be from 1"]),
        ("train --env cartpole --total-timesteps 1.5", &["\"1.5\" is no whole number; write it as 1000000"]),
        (
            "train --env cartpole --total-timesteps 1e15",
            &[
                "total_timesteps is 1,000,000,000,000,000, which is ",
                "it must be at most 2,147,483,647 updates",
            ],
        ),
        ("ui --host 0.0.0.0", &["other machines may reach 0.0.0.0", "--token"]),
        ("ui --token short", &["--token must have at least 16 letters, digits, - and _"]),
        ("ui --checkpoint-dir Cargo.toml", &["Cargo.toml is a file; name the directory of runs"]),
        ("ui --allow-origin *", &["* is no origin; write it as http://HOST:PORT"]),
        ("metrics entropi", &["there is no metric entropi; did you mean entropy?"]),
        ("train --env cartpole --hidden-dim 0", &["hidden_dim is 0"]),
        ("train --env cartpole --lr nan", &["lr is NaN"]),
        (
            "train --env cartpole --num-envs 4 --num-steps 8 --num-minibatches 3",
            &["num_minibatches = 3 does not divide", "4 x 8 = 32", "use num_minibatches = 2 or 4"],
        ),
        ("train --env cartpole --num-envs 3 --devices 2", &["cannot be split evenly", "num_envs = 4"]),
        ("train --env cartpole --conv 8", &["conv needs observations that are images", "cartpole", "[4]"]),
        ("train --env cartpole --conv 8/0", &["`8/0` is no convolution; write its filters"]),
        (
            "train --env connect4 --algo ppo --conv-channels first --conv 8:4v,8:4v",
            &[
                "the convolution 8:4v does not fit into the image of 3 x 4 that it gets; take a smaller kernel",
            ],
        ),
        (
            "train --env cartpole --opponent self",
            &["cartpole is for one player, and an opponent needs a game for two; leave out --opponent"],
        ),
        (
            "train --env connect4 --opponent smart",
            &[
                "connect4 has no player smart; --opponent may be random, heuristic, smart_heuristic, self, pool",
            ],
        ),
        (
            "train --env connect4 --heuristic-distribution random=1,minimax=2",
            &[
                "heuristic_distribution names minimax, which connect4 does not have; it has random, heuristic,",
            ],
        ),
        (
            "train --env connect4 --current-self-fraction 0.8",
            &[
                "current_self_fraction and past_self_fraction are 0.8 and 0.3; together they must be at most 1",
            ],
        ),
        ("train --env cartpole --num-seeds 0", &["num_seeds is 0; it must be from 1 to 4096"]),
        (
            "train --env cartpole --num-seeds 3 --devices 2",
            &["num_seeds = 3 cannot be split", "num_seeds = 4"],
        ),
        ("train --num-seeds 2 --seed 9223372036854775807", &["seed = 9223372036854775807 leaves no room"]),
        ("train --env cartpole --curriculum 500", &["cartpole has no curriculum; leave out --curriculum"]),
        ("train --curriculum 500", &["curriculum names 1 timesteps, but hackmatrix has 3 phases"]),
        ("train --curriculum soon", &["'--curriculum [<WHEN>]'", "expected return, off or timesteps"]),
        (
            "train --env cartpole --curriculum-start-phase 2",
            &["cartpole has no curriculum; leave out --curriculum"],
        ),
        (
            "train --curriculum-start-phase 4",
            &["curriculum_start_phase is 4, but hackmatrix has the phases 1 to 3"],
        ),
        ("train --curriculum 500,400", &["curriculum is [500, 400]; each phase must begin after"]),
        ("train --num-seeds 2 --dashboard", &["train --dashboard needs a terminal"]),
        ("train --env goodharts -b -d", &["a benchmark has no dashboard"]),
        ("bench --num-seeds 0", &["num_seeds is 0; it must be at least 1"]),
        ("bench --num-seeds 2 --logs", &["'--num-seeds <K>' cannot be used with '--logs'"]),
        ("train --run-name ../up", &["run_name is \"../up\""]),
        ("train --dashboard", &["train --dashboard needs a terminal; without it, the run is told in lines"]),
        ("train --rewind", &["--resume"]),
        ("train --eval-interval 0", &["eval_interval is 0; it must be from 1"]),
        ("train --eval-interval often", &["invalid value 'often' for '--eval-interval <N>'"]),
        ("train --eval-episodes 0", &["eval_episodes is 0; it must be from 1 to 1048576"]),
        ("train --eval-max-steps 0", &["eval_max_steps is 0; it must be from 1 to 16777216"]),
        ("train --log-episodes", &["log_episodes needs evaluations; add --eval-interval N"]),
        ("eval random --env cartpole --episodes 0", &["episodes is 0; it must be from 1"]),
        ("eval random --env cartpole --max-steps 0", &["max_steps is 0"]),
        ("eval random --env cart", &["unknown environment `cart`", "cartpole"]),
        ("eval", &["<RUN>"]),
        (
            "eval heuristik --env connect4",
            &["there is no run heuristik in checkpoints; did you mean heuristic?"],
        ),
        ("watch proxy-seeker", &["there is no run proxy-seeker", "did you mean proxy_seeker?"]),
        ("match heuristic", &["a match needs two players; add the name of another one"]),
        ("match heuristic random smart_heuristic", &["a match has two players, not 3; add --round-robin"]),
        (
            "match random random",
            &["random players play everywhere; add --env NAME, a game for two (connect4)"],
        ),
        (
            "match random random --env cartpole",
            &["cartpole is for one player; a match needs a game for two (connect4)"],
        ),
        ("match heuristic smart --env connect4", &["there is no run smart", "did you mean smart_heuristic?"]),
        (
            "match heuristic proxy_seeker",
            &[
                "heuristic plays connect4 and proxy_seeker plays goodharts; a match is played in one environment",
            ],
        ),
        ("match heuristic random --games 0", &["games is 0; it must be from 1 to 1048576"]),
        ("match heuristic random --random-opening 1000", &["random_opening is 1000; it must be less than"]),
        ("watch", &["<RUN>"]),
        ("watch random --env cartpole --speed 0", &["speed is 0"]),
        ("saliency", &["<RUN>"]),
        ("saliency random --env goodharts --samples 0", &["samples is 0"]),
        (
            "saliency random --env cartpole",
            &["the observations of cartpole have the shape [4] and are no images"],
        ),
        ("envs hackmatri", &["unknown environment `hackmatri`", "did you mean `hackmatrix`?"]),
        ("bench --env cartpole --updates 0", &["updates is 0"]),
        ("bench --env cartpole --set hidden_dim", &["`hidden_dim` is not NAME=VALUE"]),
        ("bench --env cartpole --set hidden=64", &["ppo has no setting hidden"]),
        ("compile --topology v5e:2x2 --env cartpole --devices 3", &["num_envs", "devices = 3"]),
        ("compile --topology h101 --env cartpole", &["there is no topology h101", "a100, h100, h200"]),
        ("train --env cartpole --reset-pool 2000000", &["reset_pool is 2000000; it must be from 0"]),
        ("train --env cartpole --keep 0", &["keep is 0; it must be from 1"]),
        ("train --env cartpole --keep few", &["invalid value 'few' for '--keep <N>'"]),
        ("train --env cartpole --log-interval 0", &["log_interval is 0; it must be from 1"]),
        ("train --env cartpole --log-format long", &["invalid value 'long'", "short, spec"]),
        ("runs plot x --x steps", &["invalid value 'steps' for '--x <AXIS>'", "update, timesteps, time"]),
        (
            "train --env cartpole --save-interval-minutes 0",
            &["save_interval_minutes is 0; it must be above 0"],
        ),
        (
            "train --env cartpole --on-nan xyz",
            &["invalid value 'xyz' for '--on-nan <WHAT>'", "stop, rollback"],
        ),
        ("train --env cartpole --wandb maybe", &["invalid value 'maybe'", "online, offline, disabled"]),
        ("train --env cartpole --logger wandb,paper", &["invalid value 'paper'", "tensorboard, csv, none"]),
        ("train --env cartpole --logger csv,none", &["logger lists none beside others"]),
        ("train --resume", &["'--resume <CKPT>'"]),
        ("runs compare one", &["<B>"]),
        ("runs rm", &["<RUNS>"]),
        ("runs stop", &["<RUN>"]),
        ("runs lst", &["unrecognized subcommand 'lst'", "'list'"]),
        ("bench --logs --env-only", &["'--logs' cannot be used with '--env-only'"]),
        ("bench --compare", &["'--compare <FILE>'"]),
        (
            "train --env goodharts --env-set max_food=20000",
            &["goodharts: 20000 food and 256 poison do not fit a grid of 128 x 128 cells"],
        ),
        ("power", &["--effect-size <D>"]),
        ("power --effect-size 0", &["the effect size is 0; it must be above 0"]),
        ("power --effect-size 1 --alpha 1.5", &["alpha is 1.5; it must be between 0 and 1"]),
        ("power --effect-size 1 --deaths-per-1k 0", &["there are 0 deaths per 1000 steps"]),
        ("power --effect-size 1 --n-a 5", &["--n-b <N>"]),
        ("plugin install cuda11", &["invalid value 'cuda11'", "cpu, cuda12, cuda13, tpu"]),
    ];
    for (line, parts) in cases {
        run(&line.split(' ').collect::<Vec<_>>()).fails_in_one_line(2, parts);
    }
}

#[test]
fn a_configuration_file_is_checked_key_by_key() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("my.toml");
    let with = |text: &str| {
        fs::write(&path, text).unwrap();
        run(&["train", "--config", path.to_str().unwrap()])
    };
    with("num_env = 3").fails_in_one_line(2, &["there is no setting num_env; did you mean num_envs?"]);
    with("lr = \"high\"").fails_in_one_line(2, &["lr = \"high\""]);
    with("lr = 1e-3\nnum_envs = = 3").fails_in_one_line(2, &["my.toml, line 2"]);
    run(&["train", "--config", "nowhere.toml"]).fails_in_one_line(1, &["cannot read nowhere.toml"]);
    let variable = finish(lockstep(&["train", "--env", "cartpole"]).env("LOCKSTEP_NUM_ENVS", "0"));
    variable.fails_in_one_line(2, &["num_envs is 0"]);
}

/// A copy of the trained run, and its name in a directory of runs.
fn copied_run() -> (TempDir, std::path::PathBuf) {
    let folder = TempDir::new().unwrap();
    let run = folder.path().join("copy");
    fs::create_dir(&run).unwrap();
    copy_folder(trained(), &run);
    (folder, run)
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            fs::create_dir(&to).unwrap();
            copy_folder(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

fn resume(path: &Path) -> Done {
    run(&["train", "--resume", path.to_str().unwrap()])
}

#[test]
fn damaged_checkpoints_are_told_apart_and_nothing_is_lost() {
    let (_folder, directory) = copied_run();
    let path = directory.join("checkpoint_10.ckpt");
    let good = fs::read(&path).unwrap();
    let with = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        resume(&path)
    };
    let older = "the one before it is";
    with(&good[..good.len() - 1]).fails_in_one_line(1, &["is truncated", older, "checkpoint_5.ckpt"]);
    with(b"").fails_in_one_line(1, &["is not a lockstep checkpoint"]);
    with(b"PK\x03\x04 something else").fails_in_one_line(1, &["is not a lockstep checkpoint"]);
    for position in [9, 200, good.len() / 2, good.len() - 1] {
        let mut flipped = good.clone();
        flipped[position] ^= 0x10;
        with(&flipped).fails_in_one_line(1, &["checkpoint_10.ckpt"]);
    }
    assert_eq!(
        fs::read(directory.join("final_params.safetensors")).unwrap(),
        fs::read(trained_file("final_params.safetensors")).unwrap()
    );
    resume(Path::new("nowhere/checkpoint_1.ckpt")).fails_in_one_line(1, &["there is no checkpoint nowhere"]);
}

/// `runs` in the directory that holds `run`.
fn runs(run_directory: &Path, line: &str) -> Done {
    let parent = run_directory.parent().unwrap().to_str().unwrap();
    let arguments: Vec<&str> = line.split(' ').chain(["--checkpoint-dir", parent]).collect();
    run(&[&["runs"], &arguments[..]].concat())
}

#[test]
fn names_that_are_no_run_get_the_nearest_one() {
    let (_folder, directory) = copied_run();
    for command in ["show", "stop", "diagnose", "watch", "plot", "rm --yes", "compare copy"] {
        let done = runs(&directory, &format!("{command} cpy"));
        done.fails_in_one_line(2, &["there is no run cpy in ", "did you mean copy?"]);
    }
    let parent = directory.parent().unwrap().to_str().unwrap();
    for command in [&["train", "--resume", "cpy"][..], &["eval", "cpy"], &["watch", "cpy"]] {
        let done = run(&[command, &["--checkpoint-dir", parent]].concat());
        done.fails_in_one_line(2, &["there is no run cpy in ", "did you mean copy?"]);
    }
    run(&["train", "--resume", parent]).fails_in_one_line(1, &["there is no checkpoint in "]);
    let file = trained_file("config.toml");
    run(&["runs", "list", "--checkpoint-dir", &file])
        .fails_in_one_line(1, &["is a file; --checkpoint-dir takes"]);
    let empty = run(&["train", "--resume", "latest", "--checkpoint-dir", "nowhere"]);
    empty.fails_in_one_line(1, &["there is no checkpoint in any run of nowhere"]);
    let metric = runs(&directory, "plot copy --metric entropi");
    metric.fails_in_one_line(2, &["there is no metric entropi in these runs; did you mean entropy?"]);
    let other = runs(&directory, "plot copy --out x.gif");
    other.fails_in_one_line(2, &["x.gif ends with neither .svg nor .png"]);
    runs(&directory, "plot copy --out /nowhere/x.svg").fails_in_one_line(1, &["cannot write /nowhere/x.svg"]);
    runs(&directory, "watch copy").fails_in_one_line(2, &["needs a terminal"]);
    runs(&directory, "diagnose copy").fails_in_one_line(1, &["has met no value that is not finite"]);
    runs(&directory, "rm copy").fails_in_one_line(2, &["there is nobody to ask; say --yes"]);
    assert_eq!(runs(&directory, "rm copy copy --yes").status, Some(0), "a run that is named twice");
}

#[test]
fn damaged_files_of_a_run_are_named() {
    let (_folder, directory) = copied_run();
    let damage = |name: &str, bytes: &[u8]| fs::write(directory.join(name), bytes).unwrap();
    let status = fs::read(directory.join("status.json")).unwrap();
    for bytes in [&b""[..], b"{", b"null", b"{\"state\":\"flying\"}", &[0xff]] {
        damage("status.json", bytes);
        let said = ["status.json"];
        runs(&directory, "show copy").fails_in_one_line(1, &said);
        runs(&directory, "stop copy").fails_in_one_line(1, &said);
        let list = runs(&directory, "list --all");
        assert_eq!((list.status, list.stderr.lines().count()), (Some(0), 2), "{}", list.stderr);
        assert!(
            list.stderr.contains("warning: cannot ") && list.stderr.contains("status.json"),
            "{}",
            list.stderr
        );
    }
    damage("status.json", &status);
    for bytes in [&b"nonsense\n"[..], b"null\n", &[0xff, b'\n']] {
        damage("metrics.jsonl", bytes);
        for command in ["show copy", "compare copy copy", "plot copy"] {
            runs(&directory, command).fails_in_one_line(1, &["metrics.jsonl"]);
        }
    }
    damage("metrics.jsonl", b"");
    damage("curves.jsonl", b"nonsense\n");
    runs(&directory, "plot copy").fails_in_one_line(1, &["curves.jsonl"]);
    damage("curves.jsonl", b"");
    runs(&directory, "plot copy").fails_in_one_line(1, &["nothing to draw: copy has logged no metrics yet"]);
    for bytes in [&b"lr = = 3"[..], &[0xff]] {
        damage("config.toml", bytes);
        runs(&directory, "compare copy copy").fails_in_one_line(1, &["config.toml"]);
    }
    damage("nonfinite_5.ckpt", b"LOCKSTEP");
    runs(&directory, "diagnose copy").fails_in_one_line(1, &["nonfinite_5.ckpt is truncated"]);
}

#[test]
fn a_baseline_that_does_not_fit_is_refused_before_anything_is_timed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("old.json");
    let bench = |text: &str| {
        fs::write(&path, text).unwrap();
        run(&["bench", "--env", "cartpole", "--num-envs", "64", "--compare", path.to_str().unwrap()])
    };
    for text in ["", "{", "[]", "{}", "steps_per_second 5"] {
        bench(text).fails_in_one_line(1, &["old.json is no result of `lockstep bench --json`"]);
    }
    let other = r#"{"env": "cartpole", "num_envs": 32, "num_steps": 128, "steps_per_second": 5}"#;
    bench(other).fails_in_one_line(2, &["old.json has num_envs = 32, not 64; compare with --num-envs 32"]);
    run(&["bench", "--compare", "nowhere.json"]).fails_in_one_line(1, &["cannot read nowhere.json"]);
}

#[test]
fn a_checkpoint_of_another_network_or_environment_is_refused() {
    let checkpoint = trained_file("checkpoint_5.ckpt");
    let with = |flag: &str, value: &str| run(&["train", "--resume", &checkpoint, flag, value]);
    with("--hidden-dim", "16").fails_in_one_line(2, &["hidden_dim is 8 in the run", "cannot become 16"]);
    with("--env", "hackmatrix").fails_in_one_line(2, &["env is \"cartpole\"", "hackmatrix"]);
    with("--num-envs", "8").fails_in_one_line(2, &["num_envs is 4"]);
}

#[test]
fn parameters_that_do_not_fit_are_refused() {
    let params = trained_file("final_params.safetensors");
    for command in ["eval", "watch"] {
        let expected = ["was trained on cartpole, not on hackmatrix", "leave out --env"];
        run(&[command, &params, "--env", "hackmatrix"]).fails_in_one_line(1, &expected);
        run(&[command, &params, "--env", "hackmatri"]).fails_in_one_line(2, &["did you mean `hackmatrix`?"]);

        let missing = trained().join("params_7.safetensors");
        let expected =
            ["there is no file of parameters", "params_7.safetensors; there are", "final_params.safetensors"];
        run(&[command, missing.to_str().unwrap()]).fails_in_one_line(1, &expected);
    }

    let folder = TempDir::new().unwrap();
    let path = folder.path().join("bad.safetensors");
    let eval = || run(&["eval", path.to_str().unwrap()]);
    let good = fs::read(&params).unwrap();
    for bad in [&good[..good.len() - 1], &good[..20], b"", b"not at all", &[255; 64]] {
        fs::write(&path, bad).unwrap();
        eval().fails_in_one_line(1, &["bad.safetensors is no safetensors file, or damaged"]);
    }
    let (arrays, metadata) = load_params(Path::new(&params)).unwrap();
    let mut changed = metadata.clone();
    changed.insert("env".into(), "hackmatrix".into());
    save_params(&path, &arrays, &changed).unwrap();
    eval().fails_in_one_line(1, &["the network is one for 4 numbers, but hackmatrix has 1545"]);
    changed.insert("env".into(), "chess".into());
    save_params(&path, &arrays, &changed).unwrap();
    eval().fails_in_one_line(
        1,
        &["was trained on chess, an environment of the program", "instead of lockstep"],
    );
    changed.insert("program".into(), "mygame".into());
    save_params(&path, &arrays, &changed).unwrap();
    eval().fails_in_one_line(
        1,
        &["was trained on chess, an environment of the program mygame; run that program"],
    );
    changed.remove("program");
    save_params(&path, &arrays[1..], &metadata).unwrap();
    eval().fails_in_one_line(1, &["no network", "params.actor.0.bias"]);
    save_params(&path, &arrays, &Default::default()).unwrap();
    eval().fails_in_one_line(1, &["does not say its environment; add --env NAME"]);
    for command in [["watch", "--latest"], ["watch", "latest"], ["eval", "latest"]] {
        let latest = run(&[&command[..], &["--checkpoint-dir", "nowhere"]].concat());
        latest.fails_in_one_line(1, &["there are no parameters in nowhere", "lockstep train"]);
    }
    let resumed = run(&["train", "--resume", &params]);
    resumed.fails_in_one_line(1, &["holds parameters only", "its run is"]);
}

#[test]
fn a_plugin_that_is_missing_or_none_at_all() {
    let folder = TempDir::new().unwrap();
    let text = folder.path().join("plugin.so");
    fs::write(&text, "not a library").unwrap();
    let eval = ["eval", "random", "--env", "cartpole", "--plugin"];
    let with = |path: &str| run(&[&eval[..], &[path]].concat());
    with(text.to_str().unwrap()).fails_in_one_line(1, &["is not a shared library that can be loaded"]);
    with("nowhere.so").fails_in_one_line(1, &["nowhere.so: no such file"]);

    let mut bare = lockstep(&["eval", "random", "--env", "cartpole"]);
    bare.env_remove("LOCKSTEP_PJRT_PLUGIN").env("LOCKSTEP_CACHE_DIR", folder.path()).env("PATH", "");
    finish(&mut bare).fails(1, &["neither `python3 -m pip` nor `uv` is there", "LOCKSTEP_PJRT_PLUGIN"]);
    let left: Vec<_> = fs::read_dir(folder.path().join("plugins")).into_iter().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn malformed_golden_files_name_the_line() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("golden.jsonl");
    let verify = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        run(&["verify", "hackmatrix", path.to_str().unwrap()])
    };
    verify(b"{\"id\": 1\n").fails_in_one_line(1, &["golden.jsonl:1: EOF while parsing"]);
    verify(b"\n\nhello\n").fails_in_one_line(1, &["golden.jsonl:3: "]);
    verify(b"").fails_in_one_line(1, &["there are no records"]);
    let packed = fs::read(GOLDEN).unwrap();
    verify(&packed[..packed.len() / 2]).fails_in_one_line(1, &["golden.jsonl:", "cannot read the line"]);
    run(&["verify", "hackmatrix", "nowhere"]).fails_in_one_line(1, &["cannot read nowhere"]);
    run(&["verify", "cartpole", "nowhere"]).fails_in_one_line(2, &["invalid value 'cartpole'", "hackmatrix"]);
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    run(&small_run(file.to_str().unwrap(), "x"))
        .fails(1, &["cannot make the run directory", "--checkpoint-dir"]);
}

/// A limit on the size of files stands for a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_ends_the_run_and_keeps_the_checkpoint_before() {
    let (_folder, directory) = copied_run();
    let checkpoint = directory.join("checkpoint_5.ckpt");
    let before = fs::read(&checkpoint).unwrap();
    assert!(before.len() > 4096);
    let mut shell = lockstep(&[]);
    let program = shell.get_program().to_owned();
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$@\"", "sh"]).arg(program);
    limited.args(["train", "--resume"]).arg(&checkpoint);
    for (name, value) in shell.env("RUST_BACKTRACE", "1").get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    finish(&mut limited).fails(1, &["cannot write", "too large"]);
    assert_eq!(fs::read(&checkpoint).unwrap(), before);
    let names: Vec<String> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".tmp"))
        .collect();
    assert!(names.is_empty(), "{names:?}");
}
