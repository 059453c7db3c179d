//! The words of PufferLib for settings: `--train.learning-rate` on a command line, `learning_rate` below `[train]` in an INI file.
//!
//! Both say pairs of a name, `section.key`, and a value. One table says what a name is here; a name that is in no table is a mistake. What
//! stands below `env` are parameters of the environment. What is said is turned into settings, as flags or as the layer of a file, and
//! nothing behind knows of it.
//!
//! - `names`: the table
//! - `ini`: files, line by line
//! - `sweep`: the sections of a file that say what a sweep varies

mod ini;
mod names;
mod sweep;

use std::ffi::{OsStr, OsString};
use std::path::Path;

use anyhow::{Context, Result};
use toml::Table;

use super::{Catalog, UsageError};
use crate::files;
use crate::names::nearest;
use crate::trainer::ENV_SET;
use ini::{canonical, plain, typed};
use names::Here::{Missing, Moot, Named, Setting};
use names::{Derived, Here, NAMES, SECTIONS};
pub use sweep::read_sweep;

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
    settings(catalog, path, &entries(path)?)
}

/// The lines of a file.
fn entries(path: &Path) -> Result<Vec<ini::Entry>> {
    let shown = path.display();
    let text = files::read_text(path).with_context(|| format!("cannot read {shown}"))?;
    ini::entries(&text).map_err(|problem| UsageError(format!("{shown}{problem}")).into())
}

/// The settings that these lines say, and lines to tell the user. What is about sweeps is left out.
fn settings(catalog: &Catalog, path: &Path, entries: &[ini::Entry]) -> Result<(Table, Vec<String>)> {
    let shown = path.display();
    let wrong = |problem: String| UsageError(format!("{shown}{problem}"));
    let pairs = pairs(entries).map_err(wrong)?;
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

/// The lines that say settings, as names with their sections. Errors begin with `, line N`.
fn pairs(entries: &[ini::Entry]) -> Result<Vec<(String, String)>, String> {
    let is_setting =
        |entry: &&ini::Entry| !entry.section.starts_with("sweep") && !entry.section.starts_with("selfplay");
    let pair = |ini::Entry { line, section, key, value }: &ini::Entry| {
        if !SECTIONS.contains(&section.as_str()) {
            let known = SECTIONS.join(", ");
            return Err(format!(", line {line}: there is no section {section}; they are {known}"));
        }
        let key = if section == "env" { key.clone() } else { canonical(key) };
        Ok((format!("{section}.{key}"), value.clone()))
    };
    entries.iter().filter(is_setting).map(pair).collect()
}

/// The first environment of the program among names that are separated by blanks, else the first name.
fn env_among(catalog: &Catalog, names: &str) -> String {
    let mut names = names.split_whitespace().map(|name| name.strip_prefix("puffer_").unwrap_or(name));
    let known = names.clone().find(|name| catalog.env(name).is_ok());
    known.or_else(|| names.next()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_pairs(text: &str) -> Result<Vec<(String, String)>, String> {
        pairs(&ini::entries(text)?)
    }

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
        let pairs = read_pairs(text).unwrap();
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
        let problem = |text: &str| read_pairs(text).unwrap_err();
        assert_eq!(problem("x = 1"), ", line 1: a setting before the first [section]");
        assert_eq!(problem("\n[train\n"), ", line 2: the section has no ]");
        assert_eq!(problem("[train]\nseed"), ", line 2: neither a [section] nor `key = value`");
        assert!(
            problem("[trane]\nseed = 1").starts_with(", line 2: there is no section trane; they are base,")
        );
    }
}
