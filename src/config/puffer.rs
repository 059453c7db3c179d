//! The words of PufferLib for settings: `--train.learning-rate` on a command line, `learning_rate` below `[train]` in an INI file.
//!
//! Both say pairs of a name, `section.key`, and a value. One table says what a name is here; a name that is in no table is a mistake. What
//! stands below `env` are parameters of the environment. What is said is turned into settings, as flags or as the layer of a file, and
//! nothing behind knows of it.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::{Catalog, UsageError};
use crate::files;
use crate::names::nearest;
use crate::trainer::ENV_SET;

/// What a name of PufferLib is here.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Here {
    /// A setting, with the same values.
    Setting(&'static str),
    /// A setting whose values have other names, each with the one here.
    Named(&'static str, &'static [(&'static str, &'static str)]),
    /// What with the number of agents and the horizon gives a setting.
    Derived(Derived),
    /// About machinery that is not here: environments are compiled, and one program does everything.
    Moot,
    /// A part of the algorithm that is not here.
    Missing,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Derived {
    /// The number of agents is the product of two.
    Envs,
    /// Steps of a gradient step.
    MinibatchSize,
    /// Updates of a run.
    Iterations,
}

use Here::{Missing, Moot, Named, Setting};

/// Names of versions 2 to 5, and what they are here.
const NAMES: &[(&str, Here)] = &[
    ("base.env_name", Setting("env")),
    (
        "base.rnn_name",
        Named("rnn", &[("recurrent", "lstm"), ("lstm", "lstm"), ("gru", "gru"), ("mingru", "mingru")]),
    ),
    ("base.seed", Setting("seed")),
    ("base.wandb_project", Setting("project")),
    ("base.checkpoint_dir", Setting("checkpoint_dir")),
    ("train.total_timesteps", Setting("total_timesteps")),
    ("train.num_iterations", Here::Derived(Derived::Iterations)),
    ("train.learning_rate", Setting("lr")),
    ("train.anneal_lr", Setting("anneal_lr")),
    ("train.gamma", Setting("gamma")),
    ("train.gae_lambda", Setting("gae_lambda")),
    ("train.ent_coef", Setting("ent_coef")),
    ("train.vf_coef", Setting("vf_coef")),
    ("train.clip_coef", Setting("clip_eps")),
    ("train.clip_vloss", Setting("clip_vloss")),
    ("train.max_grad_norm", Setting("max_grad_norm")),
    ("train.update_epochs", Setting("update_epochs")),
    ("train.minibatch_size", Here::Derived(Derived::MinibatchSize)),
    ("train.horizon", Setting("num_steps")),
    ("train.bptt_horizon", Setting("num_steps")),
    ("train.seed", Setting("seed")),
    ("train.device", Setting("device")),
    ("train.checkpoint_interval", Setting("save_interval")),
    ("train.checkpoint_dir", Setting("checkpoint_dir")),
    ("train.data_dir", Setting("checkpoint_dir")),
    (
        "train.precision",
        Named("precision", &[("float32", "f32"), ("bfloat16", "bf16"), ("f32", "f32"), ("bf16", "bf16")]),
    ),
    ("vec.total_agents", Setting("num_envs")),
    ("vec.num_envs", Setting("num_envs")),
    ("env.num_envs", Here::Derived(Derived::Envs)),
    ("policy.hidden_size", Setting("hidden_dim")),
    ("policy.num_layers", Setting("num_layers")),
    ("rnn.hidden_size", Setting("rnn_dim")),
    ("base.package", Moot),
    ("base.policy_name", Moot),
    ("base.max_suggestion_cost", Moot),
    ("base.max_runs", Moot),
    ("base.wandb", Moot),
    ("base.wandb_group", Moot),
    ("base.no_model_upload", Moot),
    ("base.neptune", Moot),
    ("base.neptune_name", Moot),
    ("base.neptune_project", Moot),
    ("base.tag", Moot),
    ("base.load_model_path", Moot),
    ("base.load_id", Moot),
    ("base.render_mode", Moot),
    ("base.save_frames", Moot),
    ("base.gif_path", Moot),
    ("base.fps", Moot),
    ("base.local_rank", Moot),
    ("base.eval_episodes", Moot),
    ("base.eval_agents", Moot),
    ("base.log_dir", Moot),
    ("base.async", Moot),
    ("base.reset_every_horizon", Missing),
    ("vec.backend", Moot),
    ("vec.num_workers", Moot),
    ("vec.batch_size", Moot),
    ("vec.zero_copy", Moot),
    ("vec.seed", Moot),
    ("vec.num_buffers", Moot),
    ("vec.num_threads", Moot),
    ("rnn.input_size", Moot),
    ("train.name", Moot),
    ("train.project", Moot),
    ("train.batch_size", Moot),
    ("train.max_minibatch_size", Moot),
    ("train.torch_deterministic", Moot),
    ("train.cpu_offload", Moot),
    ("train.compile", Moot),
    ("train.compile_mode", Moot),
    ("train.compile_fullgraph", Moot),
    ("train.use_rnn", Moot),
    ("train.beta2", Moot),
    ("train.eps", Moot),
    ("train.adam_beta2", Moot),
    ("train.adam_eps", Moot),
    ("train.optimizer", Named("optimizer", &[("adam", "adam"), ("muon", "muon")])),
    ("train.adam_beta1", Setting("momentum")),
    ("train.beta1", Setting("momentum")),
    ("train.momentum", Setting("momentum")),
    ("train.min_lr_ratio", Missing),
    ("train.anneal_ent_coef", Missing),
    ("train.min_ent_coef_ratio", Missing),
    ("train.norm_adv", Missing),
    ("train.vf_clip_coef", Missing),
    ("train.vtrace", Missing),
    ("train.vtrace_rho_clip", Setting("vtrace_rho")),
    ("train.vtrace_c_clip", Setting("vtrace_c")),
    ("train.prio_alpha", Setting("prio_alpha")),
    ("train.prio_beta0", Setting("prio_beta")),
    ("train.replay_ratio", Setting("replay_ratio")),
    ("train.target_kl", Setting("target_kl")),
];

/// Sections of settings; those below `sweep` and `selfplay` are left out as a whole.
const SECTIONS: [&str; 6] = ["base", "train", "vec", "env", "policy", "rnn"];

/// What a source says, in the words of lockstep.
#[derive(Debug, Default, PartialEq)]
struct Said {
    /// Settings and their values as text; no setting twice.
    settings: Vec<(&'static str, String)>,
    /// Parameters of the environment, `NAME=VALUE`.
    options: Vec<String>,
    /// Names that mean nothing here, and names of what is not here.
    moot: Vec<String>,
    missing: Vec<String>,
}

/// The pairs of a source. `show` writes a name as the source does.
fn translate(pairs: &[(String, String)], show: fn(&str) -> String) -> Result<Said, String> {
    let mut said = Said::default();
    let mut derived = Vec::new();
    for (name, value) in pairs.iter().filter(|(_, value)| !matches!(value.as_str(), "auto" | "None")) {
        let here = NAMES.iter().find(|(known, _)| known == name).map(|(_, here)| *here);
        match (here, name.strip_prefix("env.")) {
            (Some(Setting(setting)), _) => said.set(setting, value, &show(name))?,
            (Some(Named(setting, values)), _) => {
                let lower = value.to_lowercase();
                let known = || values.iter().map(|(value, _)| *value).collect::<Vec<_>>().join(", ");
                let here = values.iter().find(|(value, _)| *value == lower);
                let (_, here) =
                    here.ok_or_else(|| format!("{} is {value}; it must be one of {}", show(name), known()))?;
                said.set(setting, here, &show(name))?;
            }
            (Some(Here::Derived(kind)), _) => derived.push((kind, name, value)),
            (Some(Moot), _) => said.moot.push(show(name)),
            (Some(Missing), _) => said.missing.push(show(name)),
            (None, Some(parameter)) => said.options.push(format!("{parameter}={value}")),
            (None, None) => return Err(unknown(name, show)),
        }
    }
    derived.sort_by_key(|(kind, ..)| *kind as u8);
    derived.into_iter().try_for_each(|(kind, name, value)| said.derive(kind, &show(name), value))?;
    Ok(said)
}

/// What is wrong with a name that is in no table.
fn unknown(name: &str, show: fn(&str) -> String) -> String {
    let section = name.split_once('.').map_or("base", |(section, _)| section);
    let known = NAMES.iter().map(|(known, _)| *known);
    let hint = match SECTIONS.contains(&section) {
        true => nearest(name, known.filter(|known| known.starts_with(section))),
        false => nearest(name, known),
    };
    let name = show(name);
    match hint {
        Some(hint) => format!("there is no setting {name}; did you mean {}?", show(hint)),
        None => format!("there is no setting {name}; the sections are {}", SECTIONS.join(", ")),
    }
}

impl Said {
    /// `shown` is how the source calls the setting.
    fn set(&mut self, setting: &'static str, value: &str, shown: &str) -> Result<(), String> {
        if let Some((_, other)) =
            self.settings.iter().find(|(known, other)| *known == setting && other != value)
        {
            return Err(format!("{shown} is {value}, and another name of the same setting says {other}"));
        }
        self.settings.retain(|(known, _)| *known != setting);
        self.settings.push((setting, value.to_owned()));
        Ok(())
    }

    fn derive(&mut self, kind: Derived, shown: &str, value: &str) -> Result<(), String> {
        let number = |text: &str| text.parse::<u64>().ok().filter(|number| *number > 0);
        let value =
            number(value).ok_or_else(|| format!("{shown} is {value}; it must be a whole number above 0"))?;
        let of = |said: &Said, setting| {
            let text = said.settings.iter().find(|(known, _)| *known == setting);
            text.and_then(|(_, text)| number(text))
        };
        let envs = of(self, "num_envs");
        if kind == Derived::Envs {
            let envs = (envs.unwrap_or(1)).saturating_mul(value);
            self.settings.retain(|(known, _)| *known != "num_envs");
            return self.set("num_envs", &envs.to_string(), shown);
        }
        let batch = envs.zip(of(self, "num_steps")).and_then(|(envs, steps)| envs.checked_mul(steps));
        let batch = batch.ok_or_else(|| {
            format!("{shown} needs the number of agents and the horizon beside it, vec.total_agents and train.horizon")
        })?;
        match kind {
            Derived::Iterations => {
                self.set("total_timesteps", &batch.saturating_mul(value).to_string(), shown)
            }
            _ if batch % value == 0 => self.set("num_minibatches", &(batch / value).to_string(), shown),
            _ => Err(format!("{shown} is {value}, which does not divide the {batch} steps of an update")),
        }
    }
}

/// A name as PufferLib writes it in files, from any form of it: `train.learning_rate`.
fn canonical(name: &str) -> String {
    name.trim().to_lowercase().replace('-', "_")
}

/// A value without quotes, and a number without the underscores that PufferLib allows in it.
fn plain(value: &str) -> String {
    let value = value.trim();
    let quoted = |mark: char| value.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    if let Some(text) = quoted('"').or(quoted('\'')) {
        return text.to_owned();
    }
    let digits = value.replace('_', "");
    if digits.parse::<f64>().is_ok_and(f64::is_finite) { digits } else { value.to_owned() }
}

/// The words of a command line with PufferLib's flags as those of lockstep: `--env.NAME VALUE` for every command; for `train` all others,
/// and the environment as its first word.
///
/// # Errors
/// A [`UsageError`]: an unknown name, a value that is none for it, or a setting that is not here.
pub fn translate_words(words: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>> {
    let mut words = words.into_iter().peekable();
    let mut kept: Vec<OsString> = words.by_ref().take(2).collect();
    let is_train = kept.get(1).is_some_and(|command| command == "train");
    if let Some(env) = words.next_if(|word| is_train && is_value(word)) {
        kept.extend(["--env".into(), env]);
    }
    let mut pairs = Vec::new();
    while let Some(word) = words.next() {
        if word == "--" {
            kept.push(word);
            break;
        }
        match word.to_str().and_then(dotted).filter(|(name, _)| is_train || name.starts_with("env.")) {
            None => kept.push(word),
            Some((name, Some(value))) => pairs.push((name, plain(&value))),
            Some((name, None)) => {
                let value = words.next_if(is_value);
                let value = value.map_or("true".to_owned(), |value| value.to_string_lossy().into_owned());
                pairs.push((name, plain(&value)));
            }
        }
    }
    kept.extend(words);
    let said = translate(&pairs, |name| format!("--{}", name.replace('_', "-"))).map_err(UsageError)?;
    if let Some(name) = said.moot.first() {
        let why =
            "means nothing here, where environments and training are one compiled program; leave it out";
        return Err(UsageError(format!("{name} {why}")).into());
    }
    if let Some(name) = said.missing.first() {
        return Err(UsageError(format!("{name}: lockstep does not have this; leave it out")).into());
    }
    let flags = said.settings.iter().map(|(name, value)| format!("--{}={value}", name.replace('_', "-")));
    let options = said.options.iter().map(|option| format!("--{}={option}", ENV_SET.replace('_', "-")));
    kept.extend(flags.chain(options).map(OsString::from));
    Ok(kept)
}

/// Whether a word is no flag; negative numbers are none.
fn is_value(word: &OsString) -> bool {
    let text = word.to_string_lossy();
    !text.starts_with('-') || text.parse::<f64>().is_ok()
}

/// The name of a flag that has a section, and its value if that stands in the same word.
fn dotted(word: &str) -> Option<(String, Option<String>)> {
    let flag = word.strip_prefix("--")?;
    let (name, value) = match flag.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (flag, None),
    };
    let (section, key) = name.split_once('.')?;
    // Names of parameters have capitals and points of their own.
    let known = canonical(name);
    let is_parameter = section == "env" && NAMES.iter().all(|(name, _)| *name != known);
    Some((if is_parameter { format!("env.{key}") } else { known }, value))
}

/// Whether a file of settings is one of PufferLib's: its name says so.
pub fn is_file(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("ini"))
}

/// What a file of PufferLib says: settings, and lines to tell the user.
///
/// # Errors
/// One line: the file cannot be read; a line is none of an INI file; an unknown name, or a value that is none for it.
pub fn read(catalog: &Catalog, path: &Path) -> Result<(Table, Vec<String>)> {
    let shown = path.display();
    let text = files::read_text(path).with_context(|| format!("cannot read {shown}"))?;
    let wrong = |problem: String| UsageError(format!("{shown}{problem}"));
    let pairs = parse(&text).map_err(wrong)?;
    let said = translate(&pairs, str::to_owned).map_err(|problem| wrong(format!(": {problem}")))?;
    let mut values = Table::new();
    for (setting, value) in said.settings {
        let value = match setting {
            "env" => env_among(catalog, &value).into(),
            _ => typed(&value),
        };
        values.insert(setting.to_owned(), value);
    }
    if !said.options.is_empty() {
        values.insert(ENV_SET.to_owned(), said.options.into());
    }
    let note = |names: Vec<String>, what: &str| {
        (!names.is_empty()).then(|| format!("{shown}: {what}: {}", names.join(", ")))
    };
    let notes = [
        note(said.missing, "warning: lockstep does not have these and trains without them"),
        note(said.moot, "these mean nothing here"),
    ];
    Ok((values, notes.into_iter().flatten().collect()))
}

/// The first environment of the program among names that are separated by blanks, else the first name.
fn env_among(catalog: &Catalog, names: &str) -> String {
    let mut names = names.split_whitespace().map(|name| name.strip_prefix("puffer_").unwrap_or(name));
    let known = names.clone().find(|name| catalog.env(name).is_ok());
    known.or_else(|| names.next()).unwrap_or_default().to_owned()
}

/// A value as a file of settings would have it.
fn typed(value: &str) -> Value {
    let float = value.parse::<f64>().ok().filter(|x| x.is_finite());
    match (value.to_lowercase().as_str(), value.parse::<i64>(), float) {
        ("true", ..) => true.into(),
        ("false", ..) => false.into(),
        (_, Ok(number), _) => number.into(),
        // 3e7 is a whole number, which those that count take.
        (_, _, Some(x)) if !value.contains('.') && x.fract() == 0.0 && x.abs() < 1e15 => (x as i64).into(),
        (_, _, Some(x)) => x.into(),
        _ => value.into(),
    }
}

/// The pairs of an INI file, the later of two of a name only. Errors begin with `, line N` or `: `.
fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut section = String::new();
    for (number, line) in text.lines().enumerate() {
        let line = without_comment(line).trim();
        let fail = |problem: &str| Err(format!(", line {}: {problem}", number + 1));
        if line.is_empty() {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let Some(name) = rest.strip_suffix(']') else { return fail("the section has no ]") };
            section = canonical(name);
            continue;
        }
        let Some((key, value)) = line.split_once('=').or_else(|| line.split_once(':')) else {
            return fail("neither a [section] nor `key = value`");
        };
        match section.as_str() {
            "" => return fail("a setting before the first [section]"),
            section if section.starts_with("sweep") || section.starts_with("selfplay") => continue,
            section if !SECTIONS.contains(&section) => {
                return fail(&format!("there is no section {section}; they are {}", SECTIONS.join(", ")));
            }
            section => {
                let key = if section == "env" { key.trim().to_owned() } else { canonical(key) };
                let name = format!("{section}.{key}");
                pairs.retain(|(known, _)| *known != name);
                pairs.push((name, plain(value)));
            }
        }
    }
    Ok(pairs)
}

/// The line up to a `#` or `;` that begins it or follows on a blank.
fn without_comment(line: &str) -> &str {
    let begins = |(at, c): &(usize, char)| {
        (*c == '#' || *c == ';') && (*at == 0 || line[..*at].ends_with(char::is_whitespace))
    };
    line.char_indices().find(begins).map_or(line, |(at, _)| &line[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<String, String> {
        let words = text.split_whitespace().map(OsString::from);
        let told = translate_words(words).map_err(|error| error.to_string())?;
        Ok(told.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn flags_of_pufferlib_become_those_of_lockstep() {
        assert_eq!(
            words("lockstep train pole --train.learning-rate .001 --lr-final 1 --vec.total-agents=4_096")
                .unwrap(),
            "lockstep train --env pole --lr-final 1 --lr=.001 --num-envs=4096"
        );
        assert_eq!(
            words("lockstep train --policy.hidden_size 128 --train.anneal-lr --rnn.hidden-size 64").unwrap(),
            "lockstep train --hidden-dim=128 --anneal-lr=true --rnn-dim=64"
        );
        assert_eq!(
            words("lockstep train --env pole --env.pays.Time -0.5 --env.size 3 -- --train.x").unwrap(),
            "lockstep train --env pole -- --train.x --env-set=pays.Time=-0.5 --env-set=size=3"
        );
        assert_eq!(words("lockstep eval run --env.size 3").unwrap(), "lockstep eval run --env-set=size=3");
        assert_eq!(words("lockstep train -d").unwrap(), "lockstep train -d");
        assert_eq!(words("lockstep").unwrap(), "lockstep");
    }

    #[test]
    fn sizes_follow_from_agents_and_horizon() {
        let sizes = "--vec.num-envs 2 --env.num-envs 64 --train.horizon 16";
        assert_eq!(
            words(&format!("lockstep train {sizes} --train.minibatch-size 512 --train.num-iterations 10"))
                .unwrap(),
            "lockstep train --num-steps=16 --num-envs=128 --num-minibatches=4 --total-timesteps=20480"
        );
        assert_eq!(
            words(&format!("lockstep train {sizes} --train.minibatch-size 500")).unwrap_err(),
            "--train.minibatch-size is 500, which does not divide the 2048 steps of an update"
        );
        assert!(words("lockstep train --train.minibatch-size 500").unwrap_err().contains("train.horizon"));
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = |flag: &str| words(&format!("lockstep train {flag}")).unwrap_err();
        assert_eq!(
            wrong("--train.lerning-rate 1"),
            "there is no setting --train.lerning-rate; did you mean --train.learning-rate?"
        );
        assert!(wrong("--trane.seed 1").contains("did you mean --train.seed?"));
        assert!(wrong("--vec.num-workers 4").starts_with("--vec.num-workers means nothing here"));
        assert!(wrong("--base.rnn-name gnu").ends_with("it must be one of recurrent, lstm, gru, mingru"));
        assert!(wrong("--train.seed 1 --base.seed 2").contains("another name of the same setting says 1"));
        assert!(
            wrong("--train.horizon 8 --vec.num-envs 2 --train.minibatch-size x").contains("whole number")
        );
    }

    #[test]
    fn every_name_has_a_section_and_stands_once() {
        for (place, (name, _)) in NAMES.iter().enumerate() {
            let (section, key) = name.split_once('.').unwrap();
            assert!(SECTIONS.contains(&section) && canonical(key) == key, "{name}");
            assert!(NAMES[..place].iter().all(|(other, _)| other != name), "{name}");
        }
    }

    #[test]
    fn a_file_is_pairs_without_comments() {
        let text = "; by hand\n[base]\nenv_name = puffer_a b # two\n\n[train]\nLearning-Rate = 1e-3\nseed = 1\nseed: 2\n\
                    total_timesteps = 3e7\n[sweep.train.gamma]\nmin = .8\n[env]\nTime = 'x'\n";
        let pairs = parse(text).unwrap();
        let told: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            told,
            [
                "base.env_name=puffer_a b",
                "train.learning_rate=1e-3",
                "train.seed=2",
                "train.total_timesteps=3e7",
                "env.Time=x"
            ]
        );
        assert_eq!(
            (typed("3e7"), typed("1e-3"), typed("True")),
            (30_000_000.into(), 1e-3.into(), true.into())
        );
        let problem = |text: &str| parse(text).unwrap_err();
        assert_eq!(problem("x = 1"), ", line 1: a setting before the first [section]");
        assert_eq!(problem("\n[train\n"), ", line 2: the section has no ]");
        assert_eq!(problem("[train]\nseed"), ", line 2: neither a [section] nor `key = value`");
        assert!(
            problem("[trane]\nseed = 1").starts_with(", line 2: there is no section trane; they are base,")
        );
    }
}
