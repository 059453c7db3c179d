//! Who logs where: the server, the key, and what the run is called there.

use std::path::{Path, PathBuf};

use super::Mode;
use super::artifact::hex_digest;
use crate::trainer::settings::Settings;
use crate::trainer::status::host_name;

type Variables = Box<dyn Fn(&str) -> Option<String>>;

/// The environment variables and files that W&B users expect to work.
pub struct Environment {
    variable: Variables,
    home: Option<PathBuf>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Self { variable: Box::new(|name| std::env::var(name).ok()), home: dirs::home_dir() }
    }

    #[cfg(test)]
    pub fn of(variables: &[(&str, &str)], home: Option<PathBuf>) -> Self {
        let variables: Vec<_> = variables.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let find = move |name: &str| variables.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
        Self { variable: Box::new(find), home }
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// The server's address, without a slash at the end.
    pub fn base_url(&self) -> String {
        let url = self.get("WANDB_BASE_URL").unwrap_or_else(|| "https://api.wandb.ai".into());
        url.trim_end_matches('/').into()
    }

    /// The API key: `WANDB_API_KEY`, or the password of the server's entry in the netrc file.
    pub fn api_key(&self) -> Option<String> {
        self.get("WANDB_API_KEY").or_else(|| {
            let url = self.base_url();
            let host = url.split("://").nth(1).unwrap_or(&url).split(['/', ':']).next()?.to_string();
            let files = match self.get("NETRC") {
                Some(file) => vec![PathBuf::from(file)],
                None => [".netrc", "_netrc"]
                    .iter()
                    .filter_map(|name| Some(self.home.as_ref()?.join(name)))
                    .collect(),
            };
            files.iter().find_map(|file| netrc_password(&std::fs::read_to_string(file).ok()?, &host))
        })
    }

    /// The mode that `WANDB_MODE` asks for.
    pub fn mode(&self) -> Option<Mode> {
        match self.get("WANDB_MODE")?.as_str() {
            "online" | "run" | "shared" => Some(Mode::Online),
            "offline" | "dryrun" => Some(Mode::Offline),
            "disabled" => Some(Mode::Disabled),
            _ => None,
        }
    }

    /// The directory for the files: `WANDB_DIR/wandb`, or `wandb` in the run directory.
    pub fn directory(&self, run: &Path) -> PathBuf {
        self.get("WANDB_DIR").map_or(run.to_path_buf(), PathBuf::from).join("wandb")
    }
}

/// The password for `machine` in a netrc file, or that of its `default` entry.
fn netrc_password(text: &str, machine: &str) -> Option<String> {
    let text: Vec<_> = text.lines().map(|line| line.split('#').next().unwrap_or_default()).collect();
    let mut words = text.iter().flat_map(|line| line.split_whitespace());
    let mut applies = false;
    while let Some(word) = words.next() {
        match word {
            "machine" => applies = words.next() == Some(machine),
            "default" => applies = true,
            "password" => {
                let password = words.next();
                if applies {
                    return password.map(String::from);
                }
            }
            "login" | "account" => drop(words.next()),
            _ => {}
        }
    }
    None
}

/// How this process's part of the run relates to what W&B knows already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    New,
    /// Continues after the last step that was logged.
    Resumed,
    /// The history after this step is to be forgotten.
    Rewound {
        step: u64,
    },
}

/// What the run is called at W&B; empty where nothing is said.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    pub entity: String,
    pub project: String,
    pub run_id: String,
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
    /// Settings that were left at their defaults yield to the variables; the run's id follows from its name. Variables
    /// that name one run do not hold for those of a group.
    pub fn new(settings: &Settings, environment: &Environment, run_name: &str, origin: Origin) -> Self {
        let defaults = Settings::default();
        let unless_set = |value: &String, default: &String, variable: &str| match environment.get(variable) {
            Some(other) if value == default => other,
            _ => value.clone(),
        };
        let of_one_run = |variable| environment.get(variable).filter(|_| settings.group.is_none());
        let get = |variable| environment.get(variable).unwrap_or_default();
        Self {
            entity: unless_set(&settings.entity, &defaults.entity, "WANDB_ENTITY"),
            project: unless_set(&settings.project, &defaults.project, "WANDB_PROJECT"),
            run_id: of_one_run("WANDB_RUN_ID").unwrap_or_else(|| hex_digest(run_name)[..8].into()),
            name: of_one_run("WANDB_NAME").unwrap_or_else(|| run_name.into()),
            group: environment.get("WANDB_RUN_GROUP").or(settings.group.clone()).unwrap_or_default(),
            job_type: get("WANDB_JOB_TYPE"),
            notes: get("WANDB_NOTES"),
            tags: get("WANDB_TAGS")
                .split(',')
                .map(str::trim)
                .filter(|t| !t.is_empty())
                .map(String::from)
                .collect(),
            sweep: get("WANDB_SWEEP_ID"),
            host: host_name(),
            origin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_the_variable_or_netrc() {
        let home = tempfile::tempdir().unwrap();
        let netrc = "machine example.org login x password wrong\n# machine api.wandb.ai password no\n\
                     machine api.wandb.ai\n  login user\n  password secret\nmachine 10.0.0.1 password other\n";
        std::fs::write(home.path().join(".netrc"), netrc).unwrap();
        let key = |variables: &[(&str, &str)]| {
            Environment::of(variables, Some(home.path().to_path_buf())).api_key()
        };
        assert_eq!(key(&[]).as_deref(), Some("secret"));
        assert_eq!(key(&[("WANDB_API_KEY", "mine")]).as_deref(), Some("mine"));
        assert_eq!(key(&[("WANDB_BASE_URL", "http://10.0.0.1:8080/")]).as_deref(), Some("other"));
        assert_eq!(key(&[("WANDB_BASE_URL", "http://127.0.0.1:8080")]), None);
        assert_eq!(key(&[("NETRC", "/nowhere")]), None);
        assert_eq!(netrc_password("default login a password b", "x").as_deref(), Some("b"));
    }

    #[test]
    fn flags_win_over_variables_and_those_over_defaults() {
        let variables =
            [("WANDB_PROJECT", "p"), ("WANDB_ENTITY", "e"), ("WANDB_TAGS", "a, b,"), ("WANDB_NOTES", "n")];
        let environment = Environment::of(&variables, None);
        let settings = Settings { project: "mine".into(), ..Settings::default() };
        let identity = Identity::new(&settings, &environment, "hackmatrix-jax-jan25-26-1", Origin::New);
        assert_eq!((identity.project.as_str(), identity.entity.as_str()), ("mine", "e"));
        assert_eq!((identity.tags, identity.notes.as_str()), (vec!["a".to_string(), "b".to_string()], "n"));
        // md5("hackmatrix-jax-jan25-26-1") begins so
        assert_eq!(identity.run_id, "3f3fded4");
    }
}
