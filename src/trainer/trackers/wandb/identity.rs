//! What a run is called at W&B, for as long as it lives.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::environment::Environment;
use crate::envs::short_name;
use crate::files;
use crate::trainer::files::write_atomically;
use crate::trainer::status::host_name;
use crate::trainer::trackers::{Description, Origin, is_plain_id};

/// The file in the run directory that keeps the [`Place`].
const FILE: &str = "wandb.json";

/// Where a run is at W&B. It is chosen when the run begins and kept in its directory, so that a run which is taken up again
/// goes on in the same place, whatever the variables say by then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub run_id: String,
    /// Empty for the default of the account, until the server has named it.
    pub entity: String,
    pub project: String,
}

impl Place {
    /// The place that is kept in a run directory, if there is one.
    fn kept(run: &Path) -> Option<Self> {
        let place: Self = serde_json::from_str(&files::read_text(&run.join(FILE)).ok()?).ok()?;
        is_plain_id(&place.run_id).then_some(place)
    }

    /// A flag before a variable before the environment's own place; without that, the account's default entity and a project
    /// of the environment's name. Variables that name one run do not hold for those of a group.
    fn new(description: &Description, environment: &Environment) -> Result<Self> {
        let settings = description.settings;
        let env = short_name(&settings.env);
        let (entity, project) = settings.wandb_home.unwrap_or(("", &env));
        let choose = |flag: &Option<String>, variable, otherwise: &str| {
            flag.clone().or_else(|| environment.get(variable)).unwrap_or_else(|| otherwise.into())
        };
        let run_id = environment.get("WANDB_RUN_ID").filter(|_| settings.group.is_none());
        let run_id = run_id.unwrap_or_else(|| description.run_id.into());
        ensure!(
            is_plain_id(&run_id),
            "WANDB_RUN_ID is {run_id:?}; use letters, digits, - and _ only, at most 128"
        );
        Ok(Self {
            run_id,
            entity: choose(&settings.entity, "WANDB_ENTITY", entity),
            project: choose(&settings.project, "WANDB_PROJECT", project),
        })
    }

    /// Keeps the place in a run directory.
    pub fn keep(&self, run: &Path) -> Result<()> {
        write_atomically(&run.join(FILE), &serde_json::to_vec_pretty(self)?)
    }
}

/// What the run is called at W&B; empty where nothing is said.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    pub place: Place,
    /// The run directory, which keeps the place.
    pub run: PathBuf,
    pub name: String,
    pub group: String,
    pub job_type: String,
    pub notes: String,
    pub tags: Vec<String>,
    pub sweep: String,
    pub host: String,
    pub origin: Origin,
}

impl Identity {
    /// The identity of a run, whose place is kept in its directory from now on. Variables that name one run do not hold for
    /// those of a group.
    ///
    /// # Errors
    /// One line: the place cannot be written.
    pub fn new(description: &Description, environment: &Environment) -> Result<Self> {
        let Description { settings, run, run_name, origin, .. } = *description;
        let place = Place::kept(run).map_or_else(|| Place::new(description, environment), Ok)?;
        place.keep(run)?;
        let get = |variable| environment.get(variable).unwrap_or_default();
        Ok(Self {
            place,
            run: run.to_path_buf(),
            name: environment
                .get("WANDB_NAME")
                .filter(|_| settings.group.is_none())
                .unwrap_or(run_name.into()),
            group: environment.get("WANDB_RUN_GROUP").or(settings.group.clone()).unwrap_or_default(),
            job_type: get("WANDB_JOB_TYPE"),
            notes: get("WANDB_NOTES"),
            tags: get("WANDB_TAGS")
                .split(',')
                .map(str::trim)
                .filter(|t| !t.is_empty())
                .chain(description.tags.iter().copied())
                .map(String::from)
                .collect(),
            sweep: get("WANDB_SWEEP_ID"),
            host: host_name(),
            origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::settings::Settings;

    fn try_identity(run: &Path, settings: &Settings, variables: &[(&str, &str)]) -> Result<Identity> {
        let description = Description {
            settings,
            config: Default::default(),
            run,
            run_id: "k3v9x0q2m1zz",
            run_name: "run-1",
            origin: Origin::New,
            commit: None,
            logged_step: 0,
            tags: &[],
        };
        Identity::new(&description, &Environment::of(variables, None))
    }

    fn identity(run: &Path, settings: &Settings, variables: &[(&str, &str)]) -> Identity {
        try_identity(run, settings, variables).unwrap()
    }

    /// It is a part of a path: one from a run directory of somebody else's must not lead out of it.
    #[test]
    fn an_id_is_a_plain_word() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::default();
        for id in ["../../x", "a/b", "a b", ".", "\u{1b}[31m", &"x".repeat(129)] {
            let error = try_identity(dir.path(), &settings, &[("WANDB_RUN_ID", id)]).unwrap_err().to_string();
            assert!(error.starts_with("WANDB_RUN_ID is ") && !error.contains('\u{1b}'), "{error}");
            let place = Place { run_id: id.into(), entity: String::new(), project: "p".into() };
            place.keep(dir.path()).unwrap();
            assert_eq!(identity(dir.path(), &settings, &[]).place.run_id, "k3v9x0q2m1zz");
            std::fs::remove_file(dir.path().join(FILE)).unwrap();
        }
    }

    fn place(settings: &Settings, variables: &[(&str, &str)]) -> [String; 3] {
        let dir = tempfile::tempdir().unwrap();
        let Place { run_id, entity, project } = identity(dir.path(), settings, variables).place;
        [run_id, entity, project]
    }

    #[test]
    fn flags_win_over_variables_and_those_over_the_environments_place() {
        let variables =
            [("WANDB_PROJECT", "p"), ("WANDB_ENTITY", "e"), ("WANDB_TAGS", "a, b,"), ("WANDB_NOTES", "n")];
        let cartpole = Settings { env: "cartpole".into(), ..Settings::default() };
        assert_eq!(place(&cartpole, &[]), ["k3v9x0q2m1zz", "", "cartpole"]);
        let own = Settings { wandb_home: Some(("charles-team", "hackmatrix")), ..Settings::default() };
        assert_eq!(place(&own, &[]), ["k3v9x0q2m1zz", "charles-team", "hackmatrix"]);
        let foreign = Settings { env: "mine".into(), ..Settings::default() };
        assert_eq!(place(&foreign, &[]), ["k3v9x0q2m1zz", "", "mine"]);
        assert_eq!(place(&cartpole, &variables), ["k3v9x0q2m1zz", "e", "p"]);
        let flags = Settings { project: Some("mine".into()), ..cartpole.clone() };
        assert_eq!(place(&flags, &variables), ["k3v9x0q2m1zz", "e", "mine"]);
        let one_run = [("WANDB_RUN_ID", "chosen")];
        assert_eq!(place(&cartpole, &one_run)[0], "chosen");
        let member = Settings { group: Some("g".into()), ..cartpole.clone() };
        assert_eq!(place(&member, &one_run)[0], "k3v9x0q2m1zz");

        let dir = tempfile::tempdir().unwrap();
        let identity = identity(dir.path(), &cartpole, &variables);
        assert_eq!((identity.tags, identity.notes.as_str()), (vec!["a".to_string(), "b".to_string()], "n"));
    }

    #[test]
    fn a_run_stays_where_it_began() {
        let dir = tempfile::tempdir().unwrap();
        for group in [None, Some("g".to_string())] {
            let run = dir.path().join(group.as_deref().unwrap_or("alone"));
            std::fs::create_dir(&run).unwrap();
            let settings = Settings { group, env: "cartpole".into(), ..Settings::default() };
            let first = identity(&run, &settings, &[("WANDB_PROJECT", "a"), ("WANDB_ENTITY", "b")]);
            let now =
                [("WANDB_PROJECT", "c"), ("WANDB_ENTITY", "d"), ("WANDB_RUN_ID", "e"), ("WANDB_NAME", "f")];
            let flags = Settings { project: Some("g".into()), entity: Some("h".into()), ..settings };
            assert_eq!(identity(&run, &flags, &now).place, first.place);
        }
    }
}
