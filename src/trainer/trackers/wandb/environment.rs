//! Where W&B is and whether to log there: the variables and files that its users expect to work.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use reqwest::Url;

use super::super::server_address;
use super::Mode;
use crate::files;
use crate::trainer::settings::{Logger, Settings};

/// Where W&B is if nobody says otherwise.
pub const SERVER: &str = "https://api.wandb.ai";

type Variables = Box<dyn Fn(&str) -> Option<String>>;

/// The environment variables and files that W&B users expect to work.
pub struct Environment {
    variable: Variables,
    home: Option<PathBuf>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Self { variable: Box::new(of_process), home: dirs::home_dir() }
    }

    /// One of the caller's choice: names and values of variables, and where the netrc file is.
    pub fn of(variables: &[(&str, &str)], home: Option<PathBuf>) -> Self {
        let variables: Vec<_> = variables.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let find = move |name: &str| variables.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
        Self { variable: Box::new(find), home }
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// The server's address, without a slash at the end, and without what it may hold of a name and a password: the key is all
    /// that is sent.
    ///
    /// # Errors
    /// One line: `WANDB_BASE_URL` is no address of a web server.
    pub fn base_url(&self) -> Result<String> {
        let text = self.get("WANDB_BASE_URL").unwrap_or_else(|| SERVER.into());
        server_address("WANDB_BASE_URL", &text, SERVER).map(|(address, _)| address)
    }

    /// The API key: `WANDB_API_KEY`, or the password of the server's entry in the netrc file.
    pub fn api_key(&self) -> Option<String> {
        self.get("WANDB_API_KEY").or_else(|| {
            let host = Url::parse(&self.base_url().ok()?).ok()?.host_str()?.to_string();
            let files = match self.get("NETRC") {
                Some(file) => vec![PathBuf::from(file)],
                None => [".netrc", "_netrc"]
                    .iter()
                    .filter_map(|name| Some(self.home.as_ref()?.join(name)))
                    .collect(),
            };
            files.iter().find_map(|file| netrc_password(&files::read_text(file).ok()?, &host))
        })
    }

    /// The mode that `WANDB_MODE` asks for.
    ///
    /// # Errors
    /// One line: it is no mode. Who has misspelt `offline` does not want to be online.
    fn mode(&self) -> Result<Option<Mode>> {
        let Some(word) = self.get("WANDB_MODE") else { return Ok(None) };
        Ok(Some(match word.trim().to_lowercase().as_str() {
            "online" | "run" | "shared" => Mode::Online,
            "offline" | "dryrun" => Mode::Offline,
            "disabled" => Mode::Disabled,
            _ => bail!("WANDB_MODE is {word:?}; it must be online, offline or disabled"),
        }))
    }

    /// The mode that settings and environment come to, and what to say about it.
    ///
    /// # Errors
    /// One line: a variable that decides it makes no sense.
    pub fn mode_for(&self, settings: &Settings) -> Result<(Mode, Option<String>)> {
        let is_listed = settings.logger.is_some().then(|| settings.logs_to(Logger::Wandb));
        let asked = match (settings.no_wandb || is_listed == Some(false), settings.wandb) {
            (true, _) => Some(Mode::Disabled),
            (false, Some(mode)) => Some(mode),
            // Who lists it wants it, with a key or without.
            (false, None) => self.mode()?.or(is_listed.map(|_| Mode::Online)),
        };
        let told = |mode, notice: &str| Ok((mode, Some(notice.into())));
        match asked {
            Some(mode @ (Mode::Offline | Mode::Disabled)) => return Ok((mode, None)),
            Some(Mode::Online) | None => {}
        }
        self.base_url()?;
        match (asked, self.api_key()) {
            (_, Some(_)) => Ok((Mode::Online, None)),
            (Some(_), None) => told(
                Mode::Offline,
                "W&B: no API key is found (WANDB_API_KEY, or ~/.netrc), so the run is logged offline",
            ),
            (None, None) => told(
                Mode::Disabled,
                "W&B is off: no API key is found (WANDB_API_KEY, or ~/.netrc); --wandb offline needs none",
            ),
        }
    }

    /// The directory for the files: `WANDB_DIR/wandb`, or `wandb` in the run directory.
    pub fn directory(&self, run: &Path) -> PathBuf {
        self.get("WANDB_DIR").map_or(run.to_path_buf(), PathBuf::from).join("wandb")
    }
}

fn of_process(name: &str) -> Option<String> {
    Some(std::env::var_os(name)?.to_string_lossy().into_owned())
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
    fn modes_follow_from_flags_variables_and_keys() {
        let mode = |flag: Option<Mode>, no_wandb, variables: &[(&str, &str)]| {
            let settings = Settings { wandb: flag, no_wandb, ..Settings::default() };
            Environment::of(variables, None).mode_for(&settings).map(|(mode, _)| mode)
        };
        let key = ("WANDB_API_KEY", "key");
        let said = |word: &'static str| mode(None, false, &[key, ("WANDB_MODE", word)]);
        assert_eq!(mode(None, false, &[]).unwrap(), Mode::Disabled);
        assert_eq!(mode(None, false, &[key]).unwrap(), Mode::Online);
        assert_eq!(mode(None, true, &[key]).unwrap(), Mode::Disabled);
        assert_eq!(said("offline").unwrap(), Mode::Offline);
        assert_eq!(said("OFFLINE").unwrap(), Mode::Offline);
        assert_eq!(said(" Disabled").unwrap(), Mode::Disabled);
        for word in ["off", "false", "0", "none", "of fline"] {
            let message = said(word).unwrap_err().to_string();
            assert_eq!(message, format!("WANDB_MODE is {word:?}; it must be online, offline or disabled"));
        }
        let wrong = [key, ("WANDB_MODE", "off"), ("WANDB_BASE_URL", "not a url")];
        assert_eq!(mode(Some(Mode::Offline), false, &wrong).unwrap(), Mode::Offline);
        assert_eq!(mode(None, true, &wrong).unwrap(), Mode::Disabled);
        assert!(mode(Some(Mode::Online), false, &wrong).is_err());
        assert_eq!(mode(Some(Mode::Online), false, &[]).unwrap(), Mode::Offline);
    }

    #[test]
    fn an_address_is_checked_and_its_password_is_shown_to_nobody() {
        let url = |text: &str| Environment::of(&[("WANDB_BASE_URL", text)], None).base_url();
        assert_eq!(url("").unwrap(), "https://api.wandb.ai");
        assert_eq!(url("http://host:8080/a/b/").unwrap(), "http://host:8080/a/b");
        assert_eq!(url("https://me:secret@host/?token=secret#x").unwrap(), "https://host");
        for wrong in ["not a url", "host:8080", "ftp://host", "/path", "http://", "me:secret@host"] {
            let message = url(wrong).unwrap_err().to_string();
            assert!(message.ends_with("is no address such as https://api.wandb.ai"), "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
