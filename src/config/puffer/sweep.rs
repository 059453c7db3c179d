//! What a file of PufferLib says of a sweep: `[sweep]`, and a section `[sweep.train.learning_rate]` for each setting that varies.
//!
//! It becomes a table `[sweep]` as a TOML file has it, by the same names of settings as the rest of the file.

use std::path::Path;

use anyhow::Result;
use toml::{Table, Value};

use super::ini::{Entry, canonical, typed};
use super::names::Here::{Missing, Moot, Named, Setting};
use super::names::{Derived, Here, NAMES};
use super::{entries, settings, unknown};
use crate::config::{Catalog, UsageError};

/// What a setting that varies is here.
enum Varied {
    /// A key below `[sweep]`, or below `[sweep.env]`.
    Setting(String),
    Option(String),
    /// Why it cannot vary.
    LeftOut(&'static str),
}

/// Reads a sweep from a file of PufferLib: settings of `train`, the table `[sweep]`, and lines to tell the user.
///
/// # Errors
/// One line: the file cannot be read; a [`UsageError`] if it says nothing of a sweep, or something that makes no sense.
pub fn read_sweep(catalog: &Catalog, path: &Path) -> Result<(Table, Table, Vec<String>)> {
    let shown = path.display();
    let entries = entries(path)?;
    let (settings, mut notes) = settings(catalog, path, &entries)?;
    let mut sweep = Table::new();
    let mut left_out: Vec<String> = Vec::new();
    for Entry { line, section, key, value } in &entries {
        if section != "sweep" && !section.starts_with("sweep.") {
            continue;
        }
        let key = canonical(key);
        let Some(name) = section.strip_prefix("sweep.") else {
            let value = match key.as_str() {
                "sweep_only" => only(value),
                _ => typed(value),
            };
            sweep.insert(key, value);
            continue;
        };
        let wrong = |problem: String| UsageError(format!("{shown}, line {line}: {problem}"));
        let table = match varied(name).map_err(wrong)? {
            Varied::Setting(setting) => section_of(&mut sweep, &setting),
            Varied::Option(option) => section_of(section_of(&mut sweep, "env"), &option),
            Varied::LeftOut(why) => {
                let told = format!("{name} ({why})");
                left_out.extend((!left_out.contains(&told)).then_some(told));
                continue;
            }
        };
        table.insert(key, typed(value));
    }
    if sweep.is_empty() {
        let what = "it has no section [sweep] that says what varies";
        return Err(UsageError(format!("{shown} is no file of a sweep: {what}")).into());
    }
    if !left_out.is_empty() {
        notes.push(format!("{shown}: warning: these do not vary here: {}", left_out.join(", ")));
    }
    Ok((settings, sweep, notes))
}

/// The table of that name in another one.
fn section_of<'a>(table: &'a mut Table, name: &str) -> &'a mut Table {
    let entry = table.entry(name).or_insert_with(|| Table::new().into());
    if !entry.is_table() {
        *entry = Table::new().into(); // a key of [sweep] had the name; the section has more to say
    }
    entry.as_table_mut().expect("it was just made one")
}

/// What varies by a name such as `train.learning_rate`.
fn varied(name: &str) -> Result<Varied, String> {
    let here = NAMES.iter().find(|(known, _)| *known == name).map(|(_, here)| *here);
    Ok(match (here, name.strip_prefix("env.")) {
        (Some(Setting(setting)), _) => Varied::Setting(setting.to_owned()),
        (Some(Named(..)), _) => Varied::LeftOut("its values are no numbers"),
        (Some(Here::Derived(Derived::MinibatchSize)), _) => {
            Varied::LeftOut("num_minibatches can, in a TOML file")
        }
        (Some(Here::Derived(_)), _) => Varied::LeftOut("it is a product of others"),
        (Some(Moot), _) => Varied::LeftOut("it means nothing here"),
        (Some(Missing), _) => Varied::LeftOut("lockstep does not have it"),
        (None, Some(option)) => Varied::Option(option.to_owned()),
        (None, None) => return Err(unknown(name, |name| format!("sweep.{name}"))),
    })
}

/// The settings to which a sweep is limited, by their names here: `learning_rate`, `train/learning_rate` or `train.learning_rate`.
fn only(value: &str) -> Value {
    let names = value.trim_matches(['[', ']']).split([',', ' ']).map(|name| name.trim_matches(['"', '\'']));
    let here = |name: &str| {
        let name = canonical(name).replace('/', ".");
        let candidates =
            [name.clone(), format!("train.{name}"), format!("policy.{name}"), format!("vec.{name}")];
        let known = candidates.iter().find_map(|name| match varied(name) {
            Ok(Varied::Setting(setting)) => Some(setting),
            Ok(Varied::Option(option)) => Some(format!("env.{option}")),
            Ok(Varied::LeftOut(_)) | Err(_) => None,
        });
        known.unwrap_or(name)
    };
    Value::Array(names.filter(|name| !name.is_empty()).map(|name| here(name).into()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(text: &str) -> Result<(Table, Table, Vec<String>), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.ini");
        std::fs::write(&path, text).unwrap();
        let catalog = Catalog::builtin();
        let clean = |text: String| text.replace(&path.display().to_string(), "FILE");
        match read_sweep(&catalog, &path) {
            Ok((settings, sweep, notes)) => Ok((settings, sweep, notes.into_iter().map(clean).collect())),
            Err(error) => Err(clean(format!("{error:#}"))),
        }
    }

    #[test]
    fn sections_become_the_table_of_a_toml_file() {
        let text = "[base]\nenv_name = puffer_cartpole\n[train]\nlearning_rate = 0.02\n\
                    [sweep]\nmethod = Protein\ngoal = maximize\nmax_runs = 30\nsweep_only = learning_rate, env/size\n\
                    [sweep.train.learning_rate]\ndistribution = log_normal\nmin = 0.00001\nmean = 0.01\nmax = 0.1\nscale = 0.5\n\
                    [sweep.train.total-timesteps]\ndistribution = log_normal\nmin = 3e7\nmax = 1e8\nscale = time\n\
                    [sweep.env.size]\ndistribution = int_uniform\nmin = 1\nmax = 4\n\
                    [sweep.train.minibatch_size]\nmin = 1\nmax = 2\n[sweep.train.beta2]\nmin = 0.9\n";
        let (settings, sweep, notes) = sweep(text).unwrap();
        assert_eq!(settings, "env = \"cartpole\"\nlr = 0.02".parse().unwrap());
        let expected = "method = \"Protein\"\ngoal = \"maximize\"\nmax_runs = 30\nsweep_only = [\"lr\", \"env.size\"]\n\
                        [lr]\ndistribution = \"log_normal\"\nmin = 0.00001\nmean = 0.01\nmax = 0.1\nscale = 0.5\n\
                        [total_timesteps]\ndistribution = \"log_normal\"\nmin = 30000000\nmax = 100000000\nscale = \"time\"\n\
                        [env.size]\ndistribution = \"int_uniform\"\nmin = 1\nmax = 4\n";
        assert_eq!(sweep, expected.parse().unwrap());
        assert_eq!(
            notes,
            [
                "FILE: warning: these do not vary here: train.minibatch_size (num_minibatches can, in a TOML file), \
              train.beta2 (it means nothing here)"
            ]
        );
    }

    #[test]
    fn mistakes_are_named() {
        assert!(sweep("[train]\nseed = 1\n").unwrap_err().contains("FILE is no file of a sweep"));
        let misspelt = sweep("[sweep]\nmax_runs = 3\n[sweep.train.lerning_rate]\nmin = 1\n").unwrap_err();
        assert_eq!(
            misspelt,
            "FILE, line 4: there is no setting sweep.train.lerning_rate; did you mean sweep.train.learning_rate?"
        );
        assert!(sweep("[sweep\n").unwrap_err().starts_with("FILE, line 1:"));
    }
}
