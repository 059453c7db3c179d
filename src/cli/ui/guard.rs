//! Who may ask, and for what: stands before all routes.
//!
//! Any page that a browser shows may send requests to this machine. So: the `Host` of a request must be ours (a foreign name that was made
//! to point here is refused); an `Origin`, which browsers send along, must be ours; and what is more than reading needs the token that only
//! our own pages have. Where other machines may ask, all of it needs a secret, which a browser keeps as a cookie.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::answer::Failure;

/// Bytes of what a request may send.
pub const BODY_LIMIT: usize = 64 << 10;
/// How long an answer may take to begin, with the reading of what was sent.
const PATIENCE: Duration = Duration::from_secs(60);
/// The header in which our pages show their token.
pub const PAGE_TOKEN: HeaderName = HeaderName::from_static("x-lockstep-token");
const COOKIE: &str = "lockstep";

/// What is served may use only what we serve, is framed by nobody, and is what we say it is.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// What requests are judged by.
pub struct Guard {
    address: SocketAddr,
    /// What nobody is answered without, where others may ask.
    secret: Option<String>,
    /// What our pages have.
    page_token: String,
    /// Pages of other servers that may read.
    readers: Vec<String>,
}

impl Guard {
    /// A guard with a new token for the pages.
    ///
    /// # Errors
    /// One line: the system gives no random numbers.
    pub fn new(address: SocketAddr, secret: Option<String>, readers: Vec<String>) -> Result<Self> {
        let random = || getrandom::u64().context("the system gives no random numbers");
        Ok(Self { address, secret, page_token: format!("{:016x}{:016x}", random()?, random()?), readers })
    }

    pub fn page_token(&self) -> &str {
        &self.page_token
    }

    fn judge(&self, request: &Request) -> Result<(), Failure> {
        let refused = |why: &str| Failure::new(StatusCode::FORBIDDEN, why);
        let headers = request.headers();
        let host = host_of(request).ok_or_else(|| refused("a request must say one Host"))?;
        if !self.is_ours(host) {
            return Err(refused("this server has another name; ask for the address that it printed"));
        }
        let own = format!("http://{host}");
        let origins = headers.get_all(header::ORIGIN);
        let is_foreign = origins.iter().any(|origin| origin.as_bytes() != own.as_bytes());
        let is_reader = self.reader(request).is_some();
        if !is_reader && (is_foreign || is_from_elsewhere(request.method(), headers)) {
            return Err(refused("another page may not ask"));
        }
        self.check_secret(headers)?;
        let only_reads = [Method::GET, Method::HEAD].contains(request.method());
        if !only_reads
            && !headers.get(PAGE_TOKEN).is_some_and(|token| is_same(token.as_bytes(), &self.page_token))
        {
            return Err(refused("this needs the token of the page; load it again"));
        }
        let length =
            headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > BODY_LIMIT as u64) {
            let detail = format!("a request may have {BODY_LIMIT} bytes");
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        Ok(())
    }

    /// The page of another server that may have the answer.
    fn reader(&self, request: &Request) -> Option<HeaderValue> {
        let mut origins = request.headers().get_all(header::ORIGIN).iter();
        let origin = origins
            .next()
            .filter(|origin| self.readers.iter().any(|reader| reader.as_bytes() == origin.as_bytes()));
        let is_single = origins.next().is_none() && request.method() == Method::GET;
        origin.filter(|_| is_single).cloned()
    }

    /// Whether a `Host` names this server. Where a secret is needed any name will do: a page of another name has no such cookie.
    fn is_ours(&self, host: &str) -> bool {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
            _ => (host, Some(80)),
        };
        let is_local = ["127.0.0.1", "localhost", "[::1]"].contains(&name.to_ascii_lowercase().as_str());
        let is_address = name == self.address.ip().to_string() || host == self.address.to_string();
        self.secret.is_some() || ((is_local || is_address) && port == Some(self.address.port()))
    }

    fn check_secret(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let Some(secret) = &self.secret else { return Ok(()) };
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let cookies = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let bearer =
            headers.get(header::AUTHORIZATION).and_then(|line| line.to_str().ok()?.strip_prefix("Bearer "));
        let mut shown = cookies.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value).chain(bearer);
        if shown.any(|shown| is_same(shown.as_bytes(), secret)) {
            return Ok(());
        }
        let detail = "this needs the token: open the address that `lockstep ui` printed, or send it as `Authorization: Bearer TOKEN`";
        Err(Failure::new(StatusCode::UNAUTHORIZED, detail))
    }

    /// Where a browser that opens the printed address with its secret goes on, without it in the address.
    fn entrance(&self, request: &Request) -> Option<Response> {
        let secret = self.secret.as_ref()?;
        let shown = request.uri().query()?.split('&').find_map(|pair| pair.strip_prefix("token="))?;
        if request.method() != Method::GET || !is_same(shown.as_bytes(), secret) {
            return None;
        }
        let cookie = format!("{COOKIE}={secret}; HttpOnly; SameSite=Strict; Path=/");
        let place = [(header::LOCATION, without_query(request.uri())), (header::SET_COOKIE, cookie)];
        Some((StatusCode::SEE_OTHER, place).into_response())
    }
}

/// A path that is one of ours: `//elsewhere` would be another server.
fn without_query(uri: &Uri) -> String {
    format!("/{}", uri.path().trim_start_matches(['/', '\\']))
}

/// The host that a request is for, if it says exactly one.
fn host_of(request: &Request) -> Option<&str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    let agrees = request.uri().authority().is_none_or(|authority| authority.as_str() == host);
    (hosts.next().is_none() && agrees).then_some(host)
}

/// Whether a browser says that another site asks. To follow a link from there to a page of ours is fine.
fn is_from_elsewhere(method: &Method, headers: &HeaderMap) -> bool {
    let says = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_link = method == Method::GET && says("sec-fetch-mode") == Some("navigate");
    says("sec-fetch-site").is_some_and(|site| !["same-origin", "none"].contains(&site)) && !is_link
}

/// Whether two secrets are the same, in a time that does not say where they differ.
fn is_same(shown: &[u8], secret: &str) -> bool {
    let differing = shown.iter().zip(secret.bytes()).fold(0, |bits, (a, b)| bits | (a ^ b));
    shown.len() == secret.len() && differing == 0
}

/// Judges a request, has it answered, and says how browsers are to treat the answer.
pub async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let reader = guard.reader(&request);
    let mut response = match (guard.entrance(&request), guard.judge(&request)) {
        (_, Err(failure)) if failure.status != StatusCode::UNAUTHORIZED => failure.into_response(),
        (Some(entrance), _) => entrance,
        (None, Err(failure)) => failure.into_response(),
        (None, Ok(())) => match tokio::time::timeout(PATIENCE, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Failure::new(StatusCode::REQUEST_TIMEOUT, "this takes too long").into_response(),
        },
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if let Some(reader) = reader {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, reader);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn guard(secret: Option<&str>) -> Guard {
        let readers = vec!["http://localhost:3000".to_owned()];
        Guard::new("127.0.0.1:8050".parse().unwrap(), secret.map(String::from), readers).unwrap()
    }

    /// The status that a request is refused with; 200 if it is not.
    fn status(guard: &Guard, method: Method, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri("/api/v1/runs");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let judged = guard.judge(&request.body(Body::empty()).unwrap());
        judged.map_or_else(|failure| failure.status.as_u16(), |()| 200)
    }

    const OURS: (&str, &str) = ("host", "127.0.0.1:8050");

    #[test]
    fn only_our_names_are_served() {
        let guard = guard(None);
        for host in ["127.0.0.1:8050", "localhost:8050", "LOCALHOST:8050", "[::1]:8050"] {
            assert_eq!(status(&guard, Method::GET, &[("host", host)]), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8050",
            "127.0.0.1:8051",
            "127.0.0.1",
            "127.0.0.1.evil.example:8050",
            "",
        ] {
            assert_eq!(status(&guard, Method::GET, &[("host", host)]), 403, "{host}");
        }
        assert_eq!(status(&guard, Method::GET, &[]), 403);
        assert_eq!(status(&guard, Method::GET, &[OURS, OURS]), 403);
    }

    #[test]
    fn other_pages_neither_read_nor_act() {
        let guard = guard(None);
        for origin in ["http://evil.example", "null", "https://127.0.0.1:8050", "http://127.0.0.1:8051"] {
            assert_eq!(status(&guard, Method::GET, &[OURS, ("origin", origin)]), 403, "{origin}");
        }
        assert_eq!(status(&guard, Method::GET, &[OURS, ("origin", "http://127.0.0.1:8050")]), 200);
        assert_eq!(
            status(
                &guard,
                Method::GET,
                &[OURS, ("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site")]
            ),
            200
        );
        assert_eq!(status(&guard, Method::POST, &[OURS, ("origin", "http://localhost:3000")]), 403);
        let from = |site, mode| [OURS, ("sec-fetch-site", site), ("sec-fetch-mode", mode)];
        assert_eq!(status(&guard, Method::GET, &from("cross-site", "no-cors")), 403);
        assert_eq!(status(&guard, Method::GET, &from("cross-site", "navigate")), 200);
        assert_eq!(status(&guard, Method::GET, &from("same-origin", "cors")), 200);
    }

    #[test]
    fn actions_need_the_token_of_the_page() {
        let guard = guard(None);
        let token = guard.page_token().to_owned();
        assert_eq!(status(&guard, Method::POST, &[OURS]), 403);
        assert_eq!(status(&guard, Method::POST, &[OURS, ("x-lockstep-token", &token[1..])]), 403);
        assert_eq!(status(&guard, Method::DELETE, &[OURS, ("x-lockstep-token", "")]), 403);
        assert_eq!(status(&guard, Method::POST, &[OURS, ("x-lockstep-token", &token)]), 200);
        let large = [OURS, ("x-lockstep-token", &token), ("content-length", "9999999")];
        assert_eq!(status(&guard, Method::POST, &large), 413);
    }

    #[test]
    fn where_others_may_ask_a_secret_is_needed() {
        let guard = guard(Some("0123456789abcdef"));
        let host = ("host", "server.example:8050");
        assert_eq!(status(&guard, Method::GET, &[host]), 401);
        assert_eq!(status(&guard, Method::GET, &[host, ("cookie", "a=b; lockstep=0123456789abcdef")]), 200);
        assert_eq!(status(&guard, Method::GET, &[host, ("cookie", "lockstep=0123456789abcdee")]), 401);
        assert_eq!(status(&guard, Method::GET, &[host, ("authorization", "Bearer 0123456789abcdef")]), 200);
        let at = |uri: &str| guard.entrance(&Request::builder().uri(uri).body(Body::empty()).unwrap());
        let entered = at("/runs/a?token=0123456789abcdef").unwrap();
        assert_eq!(entered.headers()["location"], "/runs/a");
        assert!(at("/?token=wrong").is_none() && at("/").is_none());
        assert_eq!(
            at("//evil.example?token=0123456789abcdef").unwrap().headers()["location"],
            "/evil.example"
        );
    }
}
