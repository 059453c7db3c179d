//! The command line of the goodharts pipeline, and the files that its readers expect.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;

use lockstep::trainer::load_params;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::dashboard::{ENTER, LEAVE, on_terminal, press, wait_for};
use super::{Done, finish, lockstep, run};

const MODES: [&str; 4] = ["ground_truth", "ground_truth_blinded", "proxy_mortal", "proxy"];

/// Trains a small network in a directory.
fn train(directory: &Path, flags: &str) -> Done {
    let sizes = "train --env goodharts -e 2 --conv 2 --hidden-dim 8 --device cpu --no-wandb";
    let words: Vec<&str> = sizes.split_whitespace().chain(flags.split_whitespace()).collect();
    finish(lockstep(&words).current_dir(directory))
}

/// All modes, trained together.
pub fn trained() -> &'static Path {
    static RUN: OnceLock<TempDir> = OnceLock::new();
    let directory = RUN.get_or_init(|| {
        let directory = TempDir::new().unwrap();
        train(directory.path(), "-m all -u 2 --env-set food_energy=1").stdout();
        directory
    });
    directory.path()
}

/// The one file in `logs/` that is named after a mode and a time and ends so.
fn log(directory: &Path, mode: &str, end: &str) -> String {
    let names = fs::read_dir(directory.join("logs")).unwrap().map(|file| file.unwrap().file_name());
    let is_meant = |name: &String| {
        let time = name.strip_prefix(mode).and_then(|rest| rest.strip_suffix(end));
        time.is_some_and(|time| time.len() == "_20260105_101500".len())
    };
    let found: Vec<String> = names.map(|name| name.into_string().unwrap()).filter(is_meant).collect();
    assert_eq!(found.len(), 1, "{mode}{end}: {found:?}");
    fs::read_to_string(directory.join("logs").join(&found[0])).unwrap()
}

/// The lines of a table by column; a cell in quotes is one.
fn table(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let cells = |line: &str| -> Vec<String> {
        let quoted: Vec<&str> = line.split('"').collect();
        match quoted[..] {
            [line] => line.split(',').map(String::from).collect(),
            [before, list, after] => {
                let before = before.trim_end_matches(',').split(',').map(String::from);
                let after = after.trim_start_matches(',').split(',').map(String::from);
                before.chain([list.to_owned()]).chain(after).collect()
            }
            _ => panic!("more than one list in {line}"),
        }
    };
    let row = |line: &str| {
        let cells = cells(line);
        assert_eq!(cells.len(), names.len(), "{line}");
        names.iter().map(|name| (*name).to_owned()).zip(cells).collect()
    };
    lines.map(row).collect()
}

fn number(row: &BTreeMap<String, String>, name: &str) -> f64 {
    row[name].parse().unwrap_or_else(|_| panic!("{name} is {}", row[name]))
}

#[test]
fn all_modes_are_trained_together_with_their_logs_and_models() {
    let directory = trained();
    for mode in MODES {
        let rows = table(&log(directory, mode, "_updates.csv"));
        assert_eq!(rows.len(), 2, "{mode}");
        for (i, row) in rows.iter().enumerate() {
            assert_eq!(number(row, "update_num"), (i + 1) as f64);
            assert_eq!(number(row, "total_steps"), (256 * (i + 1)) as f64);
            let actions: Vec<f64> = serde_json::from_str(&row["action_probs"]).unwrap();
            assert!(actions.len() == 8 && (actions.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{actions:?}");
            assert!((0.0..=8f64.ln() + 1e-5).contains(&number(row, "entropy")));
            assert!((0.0..=1.0).contains(&number(row, "food_ratio")));
        }
        // The immortal ones live 512 steps, so no life ends in 256; the others starve after 101 at the latest if they find nothing.
        let lives: f64 = rows.iter().map(|row| number(row, "episodes_count")).sum();
        assert_eq!(lives == 0.0, mode == "proxy", "{mode}: {lives}");
        compare_with_episodes(&rows, &table(&log(directory, mode, "_episodes.csv")));
        let summary: Value = serde_json::from_str(&log(directory, mode, "_summary.json")).unwrap();
        assert_eq!((&summary["mode"], &summary["total_updates"]), (&json!(mode), &json!(2)));
        assert_eq!(summary["hyperparameters"]["n_envs"], 2);
        assert_eq!(summary["final_model_path"], format!("models/ppo_{mode}.safetensors"));

        let model = directory.join(format!("models/ppo_{mode}.safetensors"));
        let (_, metadata) = load_params(&model).unwrap();
        let says = |key: &str| metadata.get(key).map(String::as_str);
        assert_eq!((says("mode"), says("seed")), (Some(mode), Some("42")));
        assert_eq!((says("training_steps"), says("brain_type")), (Some("512"), Some("base_cnn")));
        let option = if mode == "ground_truth" { String::new() } else { format!("{mode}=true,") };
        assert_eq!(says("env_set"), Some(format!("{option}food_energy=1").as_str()));
        let architecture: Value = serde_json::from_str(says("architecture").unwrap()).unwrap();
        assert_eq!(architecture["input_channels"], 2);
    }
}

/// What the updates say of the lives that ended in them must follow from the lives themselves.
fn compare_with_episodes(updates: &[BTreeMap<String, String>], episodes: &[BTreeMap<String, String>]) {
    for (number_before, episode) in episodes.iter().enumerate() {
        assert_eq!(number(episode, "episode"), (number_before + 1) as f64);
        assert!((64.0..=256.0).contains(&number(episode, "food_density")), "{episode:?}");
        assert!((1.0..=512.0).contains(&number(episode, "length")), "{episode:?}");
        assert!((0.0..0.5).contains(&number(episode, "action_prob_std")), "{episode:?}");
    }
    let mut seen = 0;
    for (i, update) in updates.iter().enumerate() {
        let progress = (i + 1) as f64 / updates.len() as f64;
        let own: Vec<_> =
            episodes.iter().filter(|episode| number(episode, "curriculum_progress") == progress).collect();
        seen += own.len();
        assert_eq!(own.len() as f64, number(update, "episodes_count"));
        let of = |name| own.iter().map(move |episode| number(episode, name));
        let mean = |name| of(name).sum::<f64>() / own.len().max(1) as f64;
        for (column, value) in [
            ("reward_mean", mean("reward")),
            ("reward_min", of("reward").reduce(f64::min).unwrap_or(0.0)),
            ("reward_max", of("reward").reduce(f64::max).unwrap_or(0.0)),
            ("food_mean", mean("food_eaten")),
            ("poison_mean", mean("poison_eaten")),
        ] {
            let told = number(update, column);
            assert!((told - value).abs() <= 1e-4 * value.abs().max(1.0), "{column}: {told} {value}");
        }
    }
    assert_eq!(seen, episodes.len());
}

#[test]
fn modes_one_after_the_other_learn_the_same_and_older_logs_are_moved() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("logs")).unwrap();
    fs::write(directory.path().join("logs/proxy_20200101_000000_updates.csv"), "old").unwrap();
    train(directory.path(), "-m proxy_mortal,proxy --sequential -u 2 --env-set food_energy=1").stdout();
    assert!(directory.path().join("logs/previous/proxy_20200101_000000_updates.csv").exists());
    for mode in ["proxy_mortal", "proxy"] {
        let [alone, together] =
            [directory.path(), trained()].map(|directory| table(&log(directory, mode, "_updates.csv")));
        for (alone, together) in alone.iter().zip(&together) {
            for column in [
                "episodes_count",
                "reward_mean",
                "reward_min",
                "reward_max",
                "entropy",
                "value_loss",
                "food_ratio",
            ] {
                let (a, b) = (number(alone, column), number(together, column));
                assert!((a - b).abs() <= 1e-3 * b.abs().max(1.0), "{mode}, {column}: {a} {b}");
            }
        }
    }
}

#[test]
fn a_stop_signal_ends_a_sequence_between_two_modes() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join(".training_stop_signal"), "").unwrap();
    let done = train(directory.path(), "-m proxy_mortal,proxy --sequential -u 1 --verbose --clean-cache");
    assert!(
        done.stderr.contains(".training_stop_signal is there, so the 1 that are left"),
        "{}",
        done.stderr
    );
    assert!(done.stderr.contains("--clean-cache has no effect"), "{}", done.stderr);
    done.stdout();
    let has_model = |mode: &str| directory.path().join(format!("models/ppo_{mode}.safetensors")).exists();
    assert_eq!(["proxy_mortal", "proxy"].map(has_model), [true, false]);
}

const CONFIG: &str = include_str!("../../jax_env_spec/goodharts/config.default.toml");

#[test]
fn a_configuration_of_the_reference_gives_way_to_flags_alone() {
    let directory = TempDir::new().unwrap();
    let config = CONFIG.replace("gamma = 0.99", "gamma = 0.98").replace("min_food = 64", "min_food = 32");
    let config = config.replace("eps_clip = 0.2", "eps_clip = 0.3");
    fs::write(directory.path().join("config.toml"), config).unwrap();
    train(directory.path(), "--config config.toml -m proxy -u 1 --clip-eps 0.25 --seed 3").stdout();
    let runs: Vec<_> = fs::read_dir(directory.path().join("checkpoints")).unwrap().collect();
    let run = runs[0].as_ref().unwrap().path();
    let settings: toml::Table = fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap();
    let says = |name: &str, value: toml::Value| assert_eq!(settings[name], value, "{name}");
    says("gamma", 0.98.into());
    says("clip_eps", 0.25.into());
    says("num_envs", 2.into());
    says("seed", 3.into());
    says("env_set", toml::Value::from(vec!["proxy=true", "min_food=32", "gamma=0.98"]));
    let episodes = table(&log(directory.path(), "proxy", "_episodes.csv"));
    assert!(episodes.is_empty(), "a life of this mode has 512 steps");
}

#[test]
fn a_configuration_that_makes_no_sense_is_named() {
    let directory = TempDir::new().unwrap();
    let fails = |text: &str, flags: &str, parts: &[&str]| {
        fs::write(directory.path().join("config.toml"), text).unwrap();
        train(directory.path(), &format!("--config config.toml {flags}")).fails_in_one_line(2, parts);
    };
    fails(&CONFIG.replace("gamma = 0.99\n", ""), "-u 1", &["config.toml: training.gamma is missing"]);
    fails(&CONFIG.replace("gamma =", "gama ="), "-u 1", &["no key training.gama", "training.gamma?"]);
    fails("[training]\n", "-u 1", &["config.toml: cell_types.empty.color is missing"]);
    fs::write(directory.path().join("config.toml"), CONFIG).unwrap();
    let other = ["train", "--env", "cartpole", "--config", "config.toml"];
    let done = finish(lockstep(&other).current_dir(directory.path()));
    done.fails_in_one_line(2, &["config.toml is a configuration of goodharts, not of cartpole"]);
}

#[test]
fn the_device_of_a_variable_gives_way_to_a_flag() {
    let directory = TempDir::new().unwrap();
    let train = |device: &str, flags: &[&str]| {
        let words = [
            &["train", "--env", "goodharts", "-u", "1", "-e", "2", "--conv", "2", "--hidden-dim", "8"],
            flags,
        ];
        finish(lockstep(&words.concat()).current_dir(directory.path()).env("GOODHARTS_DEVICE", device))
    };
    train("abacus", &[]).fails_in_one_line(2, &["GOODHARTS_DEVICE: \"abacus\" is no device"]);
    train("cuda:1", &[]).fails_in_one_line(2, &["CUDA_VISIBLE_DEVICES=1"]);
    train("abacus", &["--device", "cpu", "-b"]).stdout();
    train("cpu", &["-b"]).stdout();
}

/// All modes are on one screen; its key stops them with their models saved, which an interrupt does not.
#[test]
fn the_screen_of_several_modes_stops_them_with_their_models() {
    for (way, stop, saved) in [
        ("", &b"xy"[..], [true, true]),
        ("--sequential", b"xy", [true, false]), // the other one has not begun
        ("", b"\x03", [false, false]),
    ] {
        let directory = TempDir::new().unwrap();
        let flags = "train --env goodharts -e 2 --conv 2 --hidden-dim 8 --device cpu --no-wandb -m proxy_mortal,proxy -u 8000 -d";
        let words: Vec<&str> = flags.split_whitespace().chain(way.split_whitespace()).collect();
        let Some(mut command) = on_terminal(&words) else { return };
        let mut process = command.current_dir(directory.path()).spawn().unwrap();
        let runs = || fs::read_dir(directory.path().join("checkpoints")).into_iter().flatten().flatten();
        let begun = || runs().filter(|run| run.path().join("status.json").exists()).count();
        wait_for(|| begun() == if way.is_empty() { 2 } else { 1 });
        press(&mut process, b"6");
        let mut screen = process.stdout.take().unwrap();
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains('↖') {
            let mut bytes = [0; 256];
            let count = screen.read(&mut bytes).unwrap();
            assert!(count > 0, "no arrows of the actions: {}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&bytes[..count]);
        }
        stop.iter().for_each(|key| press(&mut process, &[*key]));
        let _keyboard = process.stdin.take(); // its end would be a reason to leave
        screen.read_to_end(&mut seen).unwrap();
        assert!(process.wait().unwrap().success());
        let text = String::from_utf8_lossy(&seen);
        let (before, after) = text.rsplit_once(LEAVE).unwrap();
        let said = if way.is_empty() { "2 agents, " } else { "stopped at update" };
        assert!(before.contains(ENTER) && after.contains(said), "{after:?}");
        let has_model = |mode: &str| directory.path().join(format!("models/ppo_{mode}.safetensors")).exists();
        assert_eq!(["proxy_mortal", "proxy"].map(has_model), saved, "{after}");
    }
}

#[test]
fn a_benchmark_saves_nothing() {
    let directory = TempDir::new().unwrap();
    let told = train(directory.path(), "-m proxy -u 2 -b --json").stdout();
    let result: Value = serde_json::from_str(told.trim()).unwrap();
    assert_eq!((&result["mode"], &result["total_steps"]), (&json!("proxy"), &json!(512)));
    assert!(result["model_path"].is_null());
    assert!(result["throughput"].as_f64().unwrap() > 0.0);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn what_makes_no_sense_is_named() {
    let directory = TempDir::new().unwrap();
    let fails = |flags: &str, parts: &[&str]| train(directory.path(), flags).fails_in_one_line(2, parts);
    fails("-m honest", &["there is no mode \"honest\"; there are ground_truth, ground_truth_handhold,"]);
    fails("-m proxy,proxy", &["--mode has proxy twice"]);
    fails("-u 0", &["--updates is 0; it must be at least 1"]);
    fails("--entropy=-1", &["--entropy is -1"]);
    fails("--random-seed --seed 3", &["--random-seed draws a seed, and --seed says one"]);
    fails("-m proxy --env-set proxy=false", &["--env-set contradicts env_set = [\"proxy=true\"]"]);
    fails("--num-envs 4", &["--num-envs contradicts num_envs = 2"]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// Evaluates the models of the trained modes, or others, in a directory of its own, which is given back with what was said.
fn evaluate(flags: &str) -> (TempDir, Done) {
    let directory = TempDir::new().unwrap();
    let models = trained().join("models");
    let models = ["--models-dir", models.to_str().unwrap()];
    let words: Vec<&str> =
        "eval --env goodharts --device cpu".split(' ').chain(flags.split_whitespace()).collect();
    let has_model = words.iter().any(|word| ["--model", "--models-dir"].contains(word));
    let words = if has_model { words } else { [words, models.to_vec()].concat() };
    let done = finish(lockstep(&words).current_dir(directory.path()));
    (directory, done)
}

fn read(directory: &TempDir, file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(directory.path().join(file)).unwrap()).unwrap()
}

fn value(object: &Value, key: &str) -> f64 {
    object[key].as_f64().unwrap_or_else(|| panic!("{key} in {object}"))
}

/// What holds exactly between the numbers of a run, whatever happened in it.
fn check_identities(run: &Value) {
    let (a, metadata) = (&run["aggregates"], &run["metadata"]);
    let steps = value(a, "total_timesteps");
    let lives = value(metadata, "total_deaths") + value(metadata, "n_survivors");
    assert_eq!(value(a, "survival_mean"), steps / lives);
    assert_eq!(value(a, "deaths_per_1k_steps"), 1000.0 * value(metadata, "total_deaths") / steps);
    for item in ["food", "poison"] {
        let eaten = value(metadata, &format!("total_{item}_consumed"));
        assert_eq!(value(a, &format!("{item}_per_1k_steps")), 1000.0 * eaten / steps);
        let of = |lives: &Value| value(lives, "count") * value(&lives[item], "mean");
        assert!(
            (of(&run["deaths"]) + of(&run["survivors"]) - eaten).abs() < 1e-6,
            "{item} of all lives is all {item}"
        );
    }
    let energy = value(a, "food_per_1k_steps") - 2.0 * value(a, "poison_per_1k_steps") - 10.0;
    assert!((value(a, "energy_per_1k_steps") - energy).abs() < 1e-9);
    let counts = |lives: &Value, key: &str| -> u64 {
        lives[key]["histogram"].as_array().unwrap().iter().map(|bin| bin[2].as_u64().unwrap()).sum()
    };
    for (lives, count) in [("deaths", "total_deaths"), ("survivors", "n_survivors")] {
        for key in ["survival", "efficiency"] {
            assert_eq!(counts(&run[lives], key), metadata[count].as_u64().unwrap());
        }
    }
}

/// All modes, evaluated in several runs into `out/all.json`, with a report in `out/reports`; and what was printed.
fn reported() -> &'static (TempDir, String) {
    static DONE: OnceLock<(TempDir, String)> = OnceLock::new();
    DONE.get_or_init(|| {
        let flags = "-m all -t 150 -e 24 --runs 2 --base-seed 42 -o out/all.json --full-report --report-dir out/reports";
        let (directory, done) = evaluate(flags);
        let printed = done.stdout();
        (directory, printed)
    })
}

/// The directory of these results, and the name of the report there.
pub fn results() -> (&'static Path, String) {
    static DIRECTORY: OnceLock<std::path::PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| reported().0.path().join("out"));
    let report = fs::read_dir(directory.join("reports")).unwrap().next().unwrap().unwrap();
    (directory, report.file_name().into_string().unwrap())
}

#[test]
fn several_runs_of_all_modes_are_evaluated_and_reported() {
    let (directory, table) = reported();
    assert!(table.starts_with("Mode ") && table.contains("ground_truth against proxy: "), "{table}");
    let document = read(directory, "out/all.json");
    // A report takes three runs at least.
    let seeds = json!([191_664_964, 1_662_057_958, 1_405_681_632]);
    assert_eq!((&document["n_runs"], &document["base_seed"]), (&json!(3), &json!(42)));
    for mode in MODES {
        let result = &document["results"][mode];
        let a = &result["aggregates"];
        assert_eq!(a["seeds"], seeds);
        assert_eq!(value(a, "total_timesteps"), 3.0 * 150.0 * 24.0);
        let energy = value(a, "food_per_1k_steps") - 2.0 * value(a, "poison_per_1k_steps") - 10.0;
        assert!((value(a, "energy_per_1k_steps") - energy).abs() < 1e-9);
        let runs = result["runs"].as_array().unwrap();
        let mean = runs.iter().map(|run| value(run, "survival_mean")).sum::<f64>() / 3.0;
        assert!((value(a, "survival_mean") - mean).abs() < 1e-9 && runs.len() == 3);
        // Those that starve at 101 steps die, in every mode.
        assert!(value(a, "total_deaths") > 24.0, "{mode}: {a}");
        let last = read(directory, &format!("out/all_{mode}.json"));
        assert_eq!((&last["config"]["mode"], &last["config"]["seed"]), (&json!(mode), &seeds[2]));
        assert_eq!(last["metadata"]["model_mode"], mode);
        assert_eq!(last["metadata"]["model_training_steps"], 512);
        check_identities(&last);
    }
    let (out, report) = results();
    let report = out.join("reports").join(report);
    let text = fs::read_to_string(report.join("report.md")).unwrap();
    for part in [
        "## Executive Summary",
        "Survival Collapse Ratio",
        "### ground_truth - proxy\n",
        "## Power Analysis",
        "## Methodology",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(text.contains("| 1.0 | 16 | 22 | 26 |"), "{text}");
    let figures: Vec<_> = text.split('"').filter(|word| word.starts_with("figures/")).collect();
    assert_eq!(figures.len(), 18);
    figures.iter().for_each(|file| assert!(report.join(file).is_file(), "{file}"));

    // The course is that of the last runs.
    let course = read(directory, "out/all_progress.json");
    assert_eq!((&course["state"], &course["modes"]), (&json!("completed"), &document["modes"]));
    for mode in MODES {
        let curve = &course["curves"][mode];
        let last = |name: &str| curve[name].as_array().unwrap().last().unwrap().clone();
        let run = read(directory, &format!("out/all_{mode}.json"));
        assert_eq!((&curve["run"], &curve["seed"], last("steps")), (&json!(3), &seeds[2], json!(150)));
        assert_eq!(last("deaths"), run["metadata"]["total_deaths"]);
        assert_eq!(last("efficiency"), run["aggregates"]["overall_efficiency"]);
        assert!(curve["survival"].as_array().unwrap().len() > 30, "{curve}");
    }

    // The same from the file alone.
    let done = finish(
        lockstep(&["report", "-i", "out/all.json", "-o", "again", "--no-figures"])
            .current_dir(directory.path()),
    );
    done.stdout();
    let again = fs::read_to_string(directory.path().join("again/report.md")).unwrap();
    let (begin, figures) = text.split_once("## Figures").unwrap();
    let (_, end) = figures.split_once("## Methodology").unwrap();
    assert_eq!(again, format!("{begin}## Methodology{end}"));
    assert_eq!(fs::read_dir(directory.path().join("again/figures")).unwrap().count(), 0);
}

#[test]
fn a_single_run_compares_its_modes() {
    let (directory, done) =
        evaluate("-m proxy,ground_truth -t 110 -e 16 --seed 7 --deterministic -o r.json --json");
    let printed: Value = serde_json::from_str(done.stdout().trim()).unwrap();
    let document = read(&directory, "r.json");
    assert_eq!(printed, document);
    for mode in ["proxy", "ground_truth"] {
        let run = &document["results"][mode];
        assert_eq!(run, &read(&directory, &format!("r_{mode}.json")));
        assert_eq!((&run["config"]["seed"], &run["config"]["deterministic"]), (&json!(7), &json!(true)));
        assert_eq!(document["comparison"][mode]["survival"], run["aggregates"]["survival_mean"]);
        assert_eq!(document["comparison"][mode]["efficiency"], run["aggregates"]["overall_efficiency"]);
        check_identities(run);
    }
}

#[test]
fn a_player_lives_in_the_environment_that_is_asked_for() {
    let flags =
        "--model omniscient_seeker -t 120 -e 16 --seed 7 --food 900 --poison 0 --move-cost 0.02 -o r.json";
    let (directory, done) = evaluate(flags);
    done.stdout();
    let run = read(&directory, "r_ground_truth.json");
    let a = &run["aggregates"];
    assert_eq!((value(a, "poison_per_1k_steps"), value(a, "overall_efficiency")), (0.0, 1.0));
    assert!(value(a, "food_per_1k_steps") > 100.0, "{a}");
    assert!((value(a, "energy_per_1k_steps") - (value(a, "food_per_1k_steps") - 20.0)).abs() < 1e-9);
    assert_eq!(run["config"]["food_count"], 900);
    assert!(run["metadata"]["model_mode"].is_null());
}

#[test]
fn evaluations_that_make_no_sense_are_named() {
    let fails = |flags: &str, parts: &[&str]| evaluate(flags).1.fails(2, parts);
    fails("-m honest", &["there is no mode \"honest\"; there are ground_truth, ground_truth_handhold,"]);
    fails(
        "-m proxy --models-dir nowhere",
        &["there is no model nowhere/ppo_proxy.safetensors; train it with train -m proxy"],
    );
    fails(
        "-m all --models-dir nowhere",
        &["there is no model of any mode in nowhere; train them with train -m all"],
    );
    let other = trained().join("models/ppo_proxy.safetensors");
    fails(
        &format!("-m proxy_mortal --model {}", other.display()),
        &["is a model of proxy, not of proxy_mortal"],
    );
    fails("-t 0", &["--timesteps is 0; it must be at least 1"]);
    fails("-e 0", &["--n-envs is 0"]);
    fails("--runs 0", &["--runs is 0"]);
    fails("-e 9999999", &["there are 9999999 environments; there can be at most 1048576"]);
    fails(
        "-m proxy --food 16000 --poison 384",
        &["16000 food and 384 poison do not fit a grid of 128 x 128 cells"],
    );
    fails("-m proxy --env-set max_steps=100", &["--env-set max_steps=100 contradicts max_steps=1000000"]);
    fails(
        "-m proxy --episodes 5",
        &["--episodes is for an evaluation by episodes and --mode for one by lives"],
    );
    fails("random -m proxy", &["RUN is for an evaluation by episodes"]);
    let told = finish(&mut lockstep(&["eval", "--env", "cartpole", "-m", "proxy"]));
    told.fails_in_one_line(2, &["--mode is a flag of goodharts, not of cartpole; add --env goodharts"]);
    let told = finish(lockstep(&["report", "-i", "none.json"]).current_dir(trained()));
    told.fails_in_one_line(1, &["cannot read none.json"]);
    let told = finish(lockstep(&["report"]).current_dir(trained()));
    told.fails_in_one_line(
        2,
        &["there is no generated/reports/*/results.json; name a file of results with --input"],
    );
}

#[test]
fn the_power_of_a_comparison_is_told() {
    let told = run(&["power", "--effect-size", "0.5", "--n-a", "64", "--n-b", "64"]).stdout();
    let line = |name: &str| told.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
    assert_eq!(line("samples per group").as_deref(), Some("63"), "{told}");
    assert_eq!(line("power of these groups").as_deref(), Some("0.8015"), "{told}");
    let printed = run(&["power", "--effect-size", "2", "--power", "0.9", "--json"]).stdout();
    let printed: Value = serde_json::from_str(printed.trim()).unwrap();
    assert_eq!((value(&printed, "samples_per_group"), value(&printed, "steps_per_group")), (6.0, 2000.0));
    assert!(printed["achieved_power"].is_null());
}
