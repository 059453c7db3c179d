//! Every command on every registered environment: a new one joins by itself.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use lockstep::envs::{Entry, builtin};
use serde_json::Value;
use tempfile::TempDir;

use super::run;

/// A short training run of an environment.
struct Trained {
    folder: TempDir,
}

impl Trained {
    fn new(entry: &Entry) -> Trained {
        let trained = Trained { folder: TempDir::new().unwrap() };
        let flags = "--num-envs 8 --num-steps 8 --hidden-dim 8 --total-timesteps 192 --save-interval 2 \
                     --log-interval 1 --device cpu --no-wandb --run-name all --window-steps 64 --replays-per-window 2 \
                     --checkpoint-every-windows 2 --eval-max-steps 12";
        let train = ["train", "--env", entry.name, "--checkpoint-dir", trained.runs()];
        run(&[&train[..], &flags.split_whitespace().collect::<Vec<_>>()].concat()).stdout();
        trained
    }

    fn runs(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("all")
    }

    fn params(&self) -> String {
        self.run().join("final_params.safetensors").to_str().unwrap().to_owned()
    }
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&run(&[args, &["--json"]].concat()).stdout()).unwrap()
}

/// The text after each `marker`, up to the next blank.
fn words_after<'a>(text: &'a str, marker: &str) -> Vec<&'a str> {
    text.split(marker).skip(1).map(|rest| rest.split_whitespace().next().unwrap()).collect()
}

/// Environments whose episodes may have one step only: in the grid world, where poison lies beside the first cell.
const ONE_STEP: [&str; 3] = ["bandit", "goodharts", "squared"];

/// Play as `watch` prints it: probabilities are probabilities, episodes have more than one step.
fn check_play(name: &str, text: &str, episodes: usize) {
    let steps: Vec<usize> = text
        .lines()
        .filter(|line| line.starts_with("episode ") && line.contains("  step "))
        .map(|line| words_after(line, "  step ")[0].parse().unwrap())
        .collect();
    assert_eq!(steps.iter().filter(|&&step| step == 0).count(), episodes, "{name}\n{text}");
    let long = steps.iter().filter(|&&step| step == 2).count();
    assert!(long == episodes || ONE_STEP.contains(&name), "{name}: an episode of one step\n{text}");
    let choices: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("next: ")).collect();
    assert_eq!(choices.len(), steps.len() - episodes, "{name}: one choice before every step\n{text}");
    for choice in choices {
        let percents: Vec<f64> = choice
            .split_whitespace()
            .filter_map(|word| word.trim_end_matches(',').strip_suffix('%'))
            .map(|number| number.parse().unwrap())
            .collect();
        let sum: f64 = percents.iter().sum();
        let all = !choice.contains(" more");
        assert!(percents.iter().all(|p| (0.0..=100.0).contains(p)), "{name}: {choice}");
        // Rounded to whole percents.
        assert!(sum <= 100.0 + percents.len() as f64 && (!all || sum > 95.0), "{name}: {choice}");
        assert_eq!(choice.matches('[').count(), usize::from(all || choice.contains('[')), "{name}: {choice}");
    }
}

#[test]
fn trained_evaluated_and_watched() {
    for entry in builtin() {
        let (name, trained) = (entry.name, Trained::new(&entry));
        let params = trained.params();
        let status: Value =
            serde_json::from_str(&fs::read_to_string(trained.run().join("status.json")).unwrap()).unwrap();
        assert_eq!((&status["state"], &status["update"]), (&"completed".into(), &3.into()), "{name}");
        let listed = run(&["runs", "list", "--all", "--checkpoint-dir", trained.runs()]).stdout();
        assert!(listed.contains("completed"), "{name}\n{listed}");
        let shown = run(&["runs", "show", "all", "--checkpoint-dir", trained.runs()]).stdout();
        assert!(shown.contains(name), "{name}\n{shown}");

        check_windows(name, &trained.run());
        check_saliency(&entry, &trained);

        let by_itself = ["--episodes", "4", "--max-steps", "40"];
        let scripted: Vec<&str> = entry.build().players().iter().map(|player| player.name).collect();
        let brought =
            scripted.iter().filter(|name| **name != "random").map(|player| vec![*player, "--env", name]);
        let players = [vec![params.as_str()], vec!["random", "--env", name]].into_iter().chain(brought);
        let shown = run(&["envs", name]).stdout();
        assert!(scripted.is_empty() || shown.contains(&scripted.join(", ")), "{shown}");
        for player in &players.collect::<Vec<_>>() {
            let report = json(&[&["eval"], &player[..], &by_itself].concat());
            assert_eq!((&report["env"], &report["episodes"]), (&name.into(), &4.into()), "{name}");
            let [least, most] = ["min", "max"].map(|key| report["episode_length"][key].as_f64().unwrap());
            let fewest = if ONE_STEP.contains(&name) { 1.0 } else { 2.0 };
            assert!(fewest <= least && most <= 40.0, "{name}: {report}");
            let short = ["--episodes", "2", "--max-steps", "12"];
            check_play(name, &run(&[&["watch"], &player[..], &short].concat()).stdout(), 2);
        }
    }
}

/// What was trained explains itself where observations are images, and integrated gradients are complete.
fn check_saliency(entry: &Entry, trained: &Trained) {
    let (params, folder) = (trained.params(), trained.folder.path().join("saliency"));
    let flags = ["--samples", "2", "--steps", "2", "--device", "cpu", "-o", folder.to_str().unwrap()];
    let done = run(&[&["saliency", &params][..], &flags].concat());
    if entry.spec().obs_shape.len() < 2 {
        return done.fails_in_one_line(2, &["are no images"]);
    }
    let text = done.stdout();
    let errors: Vec<f64> =
        words_after(&text, "miss the difference by ").iter().map(|number| number.parse().unwrap()).collect();
    assert!(errors.len() == 2 && errors.iter().all(|error| *error < 5.0), "{}: {text}", entry.name);
    for number in 1..=2 {
        let png = fs::read(folder.join(format!("saliency_{number}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG") && png.len() > 1000, "{}", entry.name);
    }
}

/// The windows of a run follow each other, and each that is kept has a checkpoint and a replay, which `watch` shows.
fn check_windows(name: &str, run_dir: &Path) {
    let parse = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    let read = |file: &str| fs::read_to_string(run_dir.join(file)).unwrap();
    let windows: Vec<Value> = read("metrics/windows.jsonl").lines().map(parse).collect();
    let number = |value: &Value| value.as_u64().unwrap();
    for (i, window) in windows.iter().enumerate() {
        let i = i as u64;
        let ends = ["window_id", "env_steps_start", "env_steps_end", "env_steps_total"]
            .map(|key| number(&window[key]));
        assert_eq!(ends, [i, 64 * i, 64 * (i + 1), 64 * (i + 1)], "{name}: {window}");
        let own = window.as_object().unwrap().iter().filter(|(key, _)| key.ends_with("_mean"));
        assert!(own.clone().all(|(_, value)| value.is_number()), "{name}: {window}");
        let [sum, mean] = ["reward_sum", "reward_mean"].map(|key| window[key].as_f64().unwrap());
        assert!((sum - 64.0 * mean).abs() < 1e-9, "{name}: {window}");
    }
    let metadata = parse(&read("run_metadata.json"));
    let total = number(&metadata["env_steps_total"]);
    // Three updates of 64 steps; with a clock a step may take several ticks.
    assert!(total >= 192 && windows.len() as u64 == total / 64, "{name}: {total}");
    let logged: f64 =
        read("metrics.jsonl").lines().map(|line| parse(line)["train/num_episodes"].as_f64().unwrap()).sum();
    assert_eq!(number(&metadata["episodes_total"]) as f64, logged, "{name}: {metadata}");
    assert_eq!(metadata["status"], "completed", "{name}");
    let index = parse(&read("replay_index.json"));
    let entries = index["entries"].as_array().unwrap();
    assert_eq!(entries.len(), windows.len().div_ceil(2), "{name}: {index}");
    for entry in entries {
        assert!(number(&entry["window_id"]).is_multiple_of(2), "{name}: {entry}");
        assert!(run_dir.join(entry["checkpoint_path"].as_str().unwrap()).is_file(), "{name}: {entry}");
    }
    let file = run_dir.join(entries[0]["replay_path"].as_str().unwrap());
    let text = run(&["watch", file.to_str().unwrap()]).stdout();
    let steps = number(&entries[0]["steps"]);
    let fewest = if ONE_STEP.contains(&name) { 1 } else { 2 };
    assert!((fewest..=12).contains(&steps), "{name}: {index}");
    let shown = text.lines().filter(|line| line.starts_with(&format!("{name}  step "))).count() as u64;
    assert_eq!(shown, steps + 1, "{name}: a block before the first step and after each\n{text}");
    let total = entries[0]["return_total"].as_f64().unwrap();
    assert!(text.contains(&format!("after {steps} steps, return {total:.3}")), "{name}\n{text}");
}

#[test]
fn timed_and_described() {
    for entry in builtin() {
        let (name, summary) = (entry.name, entry.summary);
        let sizes = ["--num-envs", "8", "--num-steps", "8", "--updates", "1", "--device", "cpu"];
        let bench = json(&[&["bench", "--env", name, "--env-only"], &sizes[..]].concat());
        assert_eq!(bench["env"], name);
        let rates = bench.as_object().unwrap().iter().filter(|(key, _)| key.contains("steps_per_second"));
        let rates: Vec<f64> = rates.map(|(_, rate)| rate.as_f64().unwrap()).collect();
        assert!(rates.len() == 2 && rates.iter().all(|&rate| rate > 0.0), "{name}: {bench}");
        assert!(run(&["envs"]).stdout().contains(summary), "{name}");
        assert_eq!(json(&["envs", name])["name"], name);
    }
}

/// The environments that a command takes, as its help lists them.
fn taken_by(command: &str) -> Vec<String> {
    let help = run(&[command, "--help"]).stdout();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" "); // it is wrapped
    let list = help.split("[possible values: ").nth(1).unwrap().split(']').next().unwrap();
    list.split(", ").map(str::to_owned).collect()
}

#[test]
fn damaged_golden_files_are_one_line() {
    let folder = TempDir::new().unwrap();
    for name in taken_by("verify") {
        let spec = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("jax_env_spec").join(&name);
        let golden = ["golden.jsonl.gz", "golden.json.gz"].map(|file| spec.join(file));
        let whole = fs::read(golden.iter().find(|file| file.exists()).unwrap()).unwrap();
        let cases =
            [("half.gz", &whole[..whole.len() / 2]), ("text.json", &b"hello\n"[..]), ("empty.json", &[])];
        for (file, bytes) in cases {
            let path = folder.path().join(file);
            fs::write(&path, bytes).unwrap();
            run(&["verify", &name, path.to_str().unwrap()]).fails_in_one_line(1, &[file]);
        }
    }
}

#[test]
fn golden_files_and_protocols() {
    for name in taken_by("verify") {
        assert!(builtin().iter().any(|entry| entry.name == name));
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("jax_env_spec").join(&name);
        let records = folder.join("golden.jsonl.gz");
        if !records.exists() {
            // One document, which is taken as a whole.
            let document = folder.join("golden.json.gz");
            let report = run(&["verify", &name, document.to_str().unwrap()]).stdout();
            let last = report.lines().last().unwrap_or_default();
            let passed = last.strip_suffix(" passed, 0 failed").and_then(|count| count.parse().ok());
            assert!(passed.is_some_and(|count: usize| count > 0), "{name}: {report}");
            continue;
        }
        let mut text = String::new();
        GzDecoder::new(fs::File::open(records).unwrap()).read_to_string(&mut text).unwrap();
        let few: Vec<&str> = text.lines().take(8).collect();
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("few.jsonl");
        fs::write(&path, few.join("\n")).unwrap();
        let report = run(&["verify", &name, path.to_str().unwrap(), "--seeds", "30"]).stdout();
        assert!(report.lines().last() == Some("8 passed, 0 failed"), "{name}: {report}");
    }
    for name in taken_by("serve") {
        assert!(builtin().iter().any(|entry| entry.name == name));
        let commands = [r#"{"action": "reset"}"#, r#"{"action": "getValidActions"}"#];
        let replies = super::playing::converse(&mut super::lockstep(&["serve", &name]), &commands);
        assert!(replies.iter().all(|reply| reply.get("error").is_none()), "{name}: {replies:?}");
    }
}
