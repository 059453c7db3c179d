//! Calls of a tracker's server. Each is tried once here; whether and when to try again is the sender's decision, so a failure says
//! which kind it is.
//!
//! A server may be broken, or none of the kind at all: answers are read to a limit of size and time, nothing is sent on to another
//! host, and what a person is told of an answer is one short line of printable characters.

use std::fmt;
use std::io::Read;
use std::time::{Duration, Instant};

use reqwest::blocking::{Body, Client, RequestBuilder, Response};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The network or the server: worth another try, after the time that the server asks for.
    Transient(String, Option<Duration>),
    /// It would fail again.
    Permanent(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Failure::Transient(reason, _) | Failure::Permanent(reason) => f.write_str(reason),
        }
    }
}

/// A failure, and what the server called it.
struct Refusal {
    failure: Failure,
    code: Option<String>,
}

/// The most bytes of an answer.
const ANSWER_LIMIT: usize = 8 << 20;
/// The longest pause that a server can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The longest time for a file: its size decides how long it may take, not the time for a call.
const UPLOAD_TIME: Duration = Duration::from_secs(600);
/// The most letters of a server's words.
const MOST_WORDS: usize = 300;

/// How a server knows who calls.
#[derive(Clone, PartialEq)]
pub enum Auth {
    None,
    Basic { user: String, password: String },
    Bearer(String),
}

impl Auth {
    /// What nobody else may see.
    pub fn secret(&self) -> Option<&str> {
        match self {
            Auth::Basic { password: secret, .. } | Auth::Bearer(secret) if !secret.is_empty() => Some(secret),
            _ => None,
        }
    }
}

/// A server, and who calls it.
pub struct Http {
    client: Client,
    base_url: String,
    auth: Auth,
    /// What an answer 401 means.
    unknown: &'static str,
    /// The longest time for one call.
    timeout: Duration,
}

impl Http {
    /// Prepares calls to a server; nothing is sent yet. `is_trusted`: whatever certificate it has.
    ///
    /// # Errors
    /// One line: the system has no certificates to check the server with.
    pub fn new(
        base_url: &str,
        auth: Auth,
        unknown: &'static str,
        timeout: Duration,
        is_trusted: bool,
    ) -> anyhow::Result<Self> {
        // Refused only if the process has a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let agent = concat!("lockstep/", env!("CARGO_PKG_VERSION"));
        let builder = Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .user_agent(agent)
            .redirect(Policy::custom(redirect))
            .tls_danger_accept_invalid_certs(is_trusted);
        let local = ["//127.0.0.1", "//localhost", "//[::1]"].iter().any(|host| base_url.contains(host));
        let builder = if local { builder.no_proxy() } else { builder };
        Ok(Self { client: builder.build()?, base_url: base_url.into(), auth, unknown, timeout })
    }

    /// A request to a path of the server, by the caller.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base_url));
        match &self.auth {
            Auth::None => request,
            Auth::Basic { user, password } => request.basic_auth(user, Some(password)),
            Auth::Bearer(token) => request.bearer_auth(token),
        }
    }

    /// Sends a request whose answer does not matter.
    pub fn send(&self, request: RequestBuilder) -> Result<(), Failure> {
        self.answered(request, self.timeout).map(drop).map_err(|refusal| refusal.failure)
    }

    /// Sends a request; gives the JSON that is answered.
    pub fn json(&self, request: RequestBuilder) -> Result<Value, Failure> {
        self.json_unless(request, "").map(Option::unwrap_or_default)
    }

    /// As [`Http::json`]; nothing if the server refuses it with this error code.
    pub fn json_unless(&self, request: RequestBuilder, code: &str) -> Result<Option<Value>, Failure> {
        let deadline = Instant::now() + self.timeout;
        let answer = match self.answered(request, self.timeout) {
            Ok(answer) => read(answer, deadline)?,
            Err(refusal) if refusal.code.as_deref() == Some(code) => return Ok(None),
            Err(refusal) => return Err(refusal.failure),
        };
        let no_json =
            |error| Failure::Transient(format!("the answer of the server is no JSON: {error}"), None);
        serde_json::from_slice(&answer).map(Some).map_err(no_json)
    }

    /// Puts a file into a request of the caller's.
    pub fn upload(&self, request: RequestBuilder, body: impl Into<Body>) -> Result<(), Failure> {
        self.send(request.timeout(UPLOAD_TIME).body(body))
    }

    /// Puts a file at any address, with the headers (`Name:value`) that a server asked for. Whose address it is does not matter: it
    /// learns nothing of the caller.
    pub fn upload_elsewhere(&self, url: &str, headers: &Value, body: impl Into<Body>) -> Result<(), Failure> {
        self.upload(self.put_elsewhere(url, headers), body)
    }

    /// As [`Http::upload_elsewhere`], for a part of a file: gives the name (`ETag`) under which the server has it.
    pub fn upload_part(&self, url: &str, headers: &Value, body: Body) -> Result<String, Failure> {
        let request = self.put_elsewhere(url, headers).timeout(UPLOAD_TIME).body(body);
        let answer = self.answered(request, self.timeout).map_err(|refusal| refusal.failure)?;
        let tag = answer.headers().get("etag").and_then(|value| value.to_str().ok());
        tag.map(str::to_owned).ok_or_else(|| {
            Failure::Transient("the server has no name (ETag) for a part of a file".into(), None)
        })
    }

    fn put_elsewhere(&self, url: &str, headers: &Value) -> RequestBuilder {
        let mut request = self.client.put(url);
        for header in headers.as_array().into_iter().flatten().filter_map(Value::as_str) {
            if let Some((name, value)) = header.split_once(':') {
                request = request.header(name.trim(), value.trim());
            }
        }
        request
    }

    /// The answer, if it tells of success.
    fn answered(&self, request: RequestBuilder, time: Duration) -> Result<Response, Refusal> {
        let transient = |reason| Refusal { failure: Failure::Transient(reason, None), code: None };
        let answer = request.send().map_err(|error| transient(cause(&error.without_url())))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let header =
            |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let elsewhere = status.is_redirection() && header("location").is_some();
        let again = !elsewhere && (matches!(status.as_u16(), 308 | 408 | 429) || status.is_server_error());
        let wait = header("retry-after").and_then(|value| value.trim().parse().ok());
        let wait = wait.map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE));
        let own_words = match status {
            StatusCode::UNAUTHORIZED => Some(self.unknown.to_string()),
            _ if elsewhere => Some("it points to another host, where nothing is sent".into()),
            _ => None,
        };
        let said: Option<Value> =
            read(answer, Instant::now() + time).ok().and_then(|body| serde_json::from_slice(&body).ok());
        let code = said.as_ref().and_then(|said| said["error_code"].as_str()).map(str::to_owned);
        let said = said.as_ref().and_then(words);
        let reasons: Vec<String> =
            [Some(status.to_string()), own_words, said].into_iter().flatten().collect();
        let reason = format!("the server answered {}", reasons.join(": "));
        let failure = if again { Failure::Transient(reason, wait) } else { Failure::Permanent(reason) };
        Err(Refusal { failure, code })
    }
}

/// Follows within one host only: what is sent, and the key with it, is meant for that one.
fn redirect(attempt: Attempt) -> reqwest::redirect::Action {
    let from = attempt.previous().last();
    match from.is_some_and(|from| from.origin() == attempt.url().origin()) && attempt.previous().len() < 5 {
        true => attempt.follow(),
        false => attempt.stop(),
    }
}

/// The body of an answer, up to [`ANSWER_LIMIT`] and until `deadline`.
fn read(mut answer: Response, deadline: Instant) -> Result<Vec<u8>, Failure> {
    let broken =
        |reason: String| Failure::Transient(format!("the answer of the server breaks off: {reason}"), None);
    let (mut body, mut piece) = (Vec::new(), [0; 16 << 10]);
    loop {
        match answer.read(&mut piece).map_err(|error| broken(cause(&error)))? {
            0 => return Ok(body),
            length => body.extend_from_slice(&piece[..length]),
        }
        if body.len() > ANSWER_LIMIT {
            return Err(broken(format!("it has more than {ANSWER_LIMIT} bytes")));
        }
        if Instant::now() > deadline {
            return Err(broken("it takes too long".into()));
        }
    }
}

/// What a server says of its failure, as one line that a terminal can show.
pub fn words(answer: &Value) -> Option<String> {
    let places =
        [&answer["errors"][0]["message"], &answer["errors"][0], &answer["error"], &answer["message"]];
    let text = places.into_iter().find_map(Value::as_str)?;
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let line = printable.take(MOST_WORDS).collect::<String>();
    (!line.trim().is_empty()).then(|| line.trim().to_string())
}

/// The innermost reason, which is the one that tells a person something.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
