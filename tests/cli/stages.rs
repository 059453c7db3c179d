//! Runs in stages: what each sets holds from its first update on, also when the run was interrupted in the middle of one.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{Done, run};

/// Ends after three updates, after a length in steps, and with the run.
const BY_LENGTH: &str = "lr = 0.001\nanneal_lr = false\n[[stages]]\nenv = { max_steps = 5 }\nuntil = { updates = 3 }\n\
                         [[stages]]\nlr = 0.002\nent_coef = 0.0\nenv.max_steps = 6\nuntil = { steps = 60 }\n\
                         [[stages]]\nenv.max_steps = 7\n";

/// A return ends the first with update 10, for which the others wait; the second lasts three updates.
const BY_RETURN: &str = "lr = 0.001\nanneal_lr = false\n[[stages]]\nenv.max_steps = 5\nuntil = { return = 4.5, in_a_row = 2, steps = 100_000 }\n\
                         [[stages]]\nlr = 0.002\nenv.max_steps = 6\nuntil.updates = 3\n\
                         [[stages]]\nenv.max_steps = 7\n";

struct Runs {
    folder: TempDir,
}

impl Runs {
    fn new() -> Runs {
        Runs { folder: TempDir::new().unwrap() }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn train(&self, more: &str) -> Done {
        let place = self.folder.path().to_str().unwrap();
        let words = ["train", "--no-wandb", "--device", "cpu", "--checkpoint-dir", place];
        run(&[&words[..], &more.split_whitespace().collect::<Vec<_>>()].concat())
    }

    /// A new run of so many updates in the stages of a file.
    fn begin(&self, file: &str, name: &str, updates: u64) -> Done {
        let done = self.train(&format!(
            "--config {file} --env cartpole --num-envs 4 --num-steps 8 --hidden-dim 8 --log-interval 1 --save-interval 100 \
             --run-name {name} --total-timesteps {}",
            updates * 32
        ));
        assert_eq!(done.status, Some(0), "{}", done.stderr);
        done
    }
}

/// The rows of a run without what depends on the clock.
fn rows(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let row = |line: &str| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        row.as_object_mut().unwrap().retain(|name, _| !name.starts_with("time/"));
        row
    };
    text.lines().map(row).collect()
}

fn values(rows: &[Value], name: &str) -> Vec<f64> {
    rows.iter().map(|row| row[name].as_f64().unwrap_or_else(|| panic!("{name} in {row}"))).collect()
}

#[test]
fn each_stage_sets_its_numbers_and_says_so() {
    let runs = Runs::new();
    let done = runs.begin(&runs.file("by_length.toml", BY_LENGTH), "a", 8);
    let rows = rows(&runs.directory("a"));
    assert_eq!(values(&rows, "curriculum/phase"), [1.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
    let rates: Vec<f64> = values(&rows, "train/lr").iter().map(|rate| (rate * 1e6).round() / 1e6).collect();
    assert_eq!(rates, [0.001, 0.001, 0.001, 0.002, 0.002, 0.001, 0.001, 0.001]);
    // All episodes of cartpole live for 5 steps, but not much longer.
    let lengths = values(&rows, "train/mean_episode_length");
    assert!(lengths[1..3].iter().all(|length| *length == 5.0), "{lengths:?}");
    assert!(lengths[4] > 5.0 && lengths[4] <= 6.0, "{lengths:?}");
    assert!(lengths[6] > 6.0 && lengths[7] <= 7.0, "{lengths:?}");
    for line in [
        "stage 1 of 3 begins: env.max_steps = 5, until 3 updates are done in it",
        "stage 1 is complete, stage 2 of 3 begins: ent_coef = 0.0, lr = 0.002, env.max_steps = 6, until 60 steps are done in it",
        "stage 2 is complete, stage 3 of 3 begins: env.max_steps = 7",
    ] {
        assert!(done.stderr.contains(line), "no {line:?} in {}", done.stderr);
    }
    for kept in ["phase_1_complete.ckpt", "phase_2_complete.ckpt"] {
        assert!(runs.directory("a").join(kept).is_file(), "{kept}");
    }
    // The configuration of the run starts another one like it.
    let config = runs.directory("a").join("config.toml");
    runs.begin(config.to_str().unwrap(), "b", 8);
    assert_eq!(self::rows(&runs.directory("b")), rows);
}

#[test]
fn a_resumed_run_goes_on_in_its_stage_bit_for_bit() {
    let runs = Runs::new();
    for (name, text, updates, stops) in
        [("length", BY_LENGTH, 8, [1, 4, 6]), ("return", BY_RETURN, 16, [7, 11, 14])]
    {
        let file = runs.file(&format!("{name}.toml"), text);
        runs.begin(&file, &format!("{name}-whole"), updates);
        let whole = runs.directory(&format!("{name}-whole"));
        let params = fs::read(whole.join("final_params.safetensors")).unwrap();
        let expected = rows(&whole);
        if name == "return" {
            let stages = [vec![1.0; 10], vec![2.0; 3], vec![3.0; 3]].concat();
            assert_eq!(values(&expected, "curriculum/phase"), stages);
        }
        for stop in stops {
            let part = format!("{name}-{stop}");
            runs.begin(&file, &part, stop);
            let done = runs.train(&format!("--resume {part} --total-timesteps {}", updates * 32));
            assert_eq!(done.status, Some(0), "{}", done.stderr);
            let stage = expected[stop as usize]["curriculum/phase"].as_f64().unwrap();
            let line = format!("the run goes on in stage {stage} of 3");
            assert!(done.stderr.contains(&line), "no {line:?} in {}", done.stderr);
            let directory = runs.directory(&part);
            assert_eq!(rows(&directory), expected, "{part}");
            assert!(fs::read(directory.join("final_params.safetensors")).unwrap() == params, "{part}");
        }
    }
}

#[test]
fn every_algorithm_and_a_group_have_stages() {
    let runs = Runs::new();
    let text = "lr = 0.001\nanneal_lr = false\n[[stages]]\nepsilon = 0.5\nuntil.updates = 2\n[[stages]]\nlr = 0.01\n";
    let file = runs.file("dqn.toml", text);
    let more = "--env cartpole --algo dqn --num-envs 2 --num-steps 8 --hidden-dim 8 --log-interval 1 --total-timesteps 64";
    let done = runs.train(&format!("--config {file} --run-name dqn {more}"));
    assert_eq!(done.status, Some(0), "{}", done.stderr);
    let dqn = rows(&runs.directory("dqn"));
    assert_eq!(values(&dqn, "curriculum/phase"), [1.0, 1.0, 2.0, 2.0]);
    assert_eq!(
        values(&dqn, "train/lr").iter().map(|rate| (rate * 1e4).round()).collect::<Vec<_>>(),
        [10.0, 10.0, 100.0, 100.0]
    );
    let file = runs.file("group.toml", BY_RETURN);
    let done = runs.train(&format!(
        "--config {file} --env cartpole --num-envs 4 --num-steps 8 --hidden-dim 8 --log-interval 1 --num-seeds 2 \
         --run-name both --total-timesteps 512"
    ));
    assert_eq!(done.status, Some(0), "{}", done.stderr);
    runs.begin(&file, "alone", 16);
    // The first agent of the group is the one that is trained alone.
    let (group, alone) = (rows(&runs.directory("both-s0")), rows(&runs.directory("alone")));
    assert_eq!(values(&group, "curriculum/phase"), values(&alone, "curriculum/phase"));
    assert_eq!(values(&group, "train/mean_episode_length"), values(&alone, "train/mean_episode_length"));
}

#[test]
fn bad_stages_are_one_line() {
    let runs = Runs::new();
    let last = "\n[[stages]]\n";
    for (text, part) in [
        (
            "[[stages]]\nlr = 1e-3\n[[stages]]\n",
            "stage 1: it has no until, such as until = { steps = 1000000 }",
        ),
        ("[[stages]]\nuntil.updates = 1\n[[stages]]\nuntil.updates = 1\n", "stage 2: it is the last stage"),
        ("[[stages]]\nlr = 1e-3\n", "there is one stage"),
        ("stages = 3\n", "stages"),
        (
            &format!("[[stages]]\nuntil.hours = 1{last}"),
            "stage 1: until has no hours; until takes steps, updates or return",
        ),
        (
            &format!("[[stages]]\nuntil = 100{last}"),
            "stage 1: until is 100; until takes steps, updates or return",
        ),
        (
            &format!("[[stages]]\nuntil.steps = -5{last}"),
            "stage 1: until.steps is -5; it must be a whole number from 1",
        ),
        (
            &format!("[[stages]]\nuntil.return = 'good'{last}"),
            "until.return is \"good\"; it must be a finite number",
        ),
        (
            &format!("[[stages]]\nlear_rate = 1\nuntil.updates = 1{last}"),
            "stage 1: there is no lear_rate to set",
        ),
        (&format!("[[stages]]\nclip_ep = 1\nuntil.updates = 1{last}"), "did you mean clip_eps?"),
        (
            &format!("[[stages]]\nnum_envs = 8\nuntil.updates = 1{last}"),
            "stage 1: num_envs is no number that a stage can set, for the program is compiled with it; there are lr,",
        ),
        (
            &format!("[[stages]]\nlr = -1.0\nuntil.updates = 1{last}"),
            "stage 1: lr is -1; it must be a finite number above 0",
        ),
        (&format!("[[stages]]\nlr = 'fast'\nuntil.updates = 1{last}"), "stage 1: lr = \"fast\": "),
        (
            &format!("[[stages]]\nenv.gravitas = 1\nuntil.updates = 1{last}"),
            "stage 1: cartpole has no option gravitas; it has",
        ),
        (
            &format!("[[stages]]\nuntil.updates = 1{last}env.gravity = 1000\n"),
            "stage 2: the option gravity of cartpole is 1000; it must be from 0 to 100",
        ),
        (
            &format!("[[stages]]\nenv = 'hard'\nuntil.updates = 1{last}"),
            "stage 1: env is \"hard\"; write parameters",
        ),
    ] {
        let file = runs.file("bad.toml", text);
        runs.train(&format!("--config {file} --env cartpole")).fails_in_one_line(2, &[part]);
    }
    let file = runs.file("good.toml", BY_LENGTH);
    runs.train(&format!("--config {file} --env hackmatrix --curriculum"))
        .fails_in_one_line(2, &["stage 1: hackmatrix has no option max_steps"]);
    let file = runs.file("both.toml", "[[stages]]\nlr = 1e-3\nuntil.updates = 1\n[[stages]]\n");
    runs.train(&format!("--config {file} --env hackmatrix --curriculum"))
        .fails_in_one_line(2, &["stages are a curriculum of their own; leave out --curriculum"]);
    let file = runs.file("size.toml", "[[stages]]\nenv.rows = 5\nuntil.updates = 1\n[[stages]]\n");
    runs.train(&format!("--config {file} --env connect4")).fails_in_one_line(
        2,
        &["the option rows of connect4 decides what is compiled and cannot change in a run"],
    );
}
