//! Connections: one thread, HTTP/1.1, and limits on all that another program could take much of.

use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::answer::Failure;
use super::guard::{self, BODY_LIMIT};
use super::site::Shared;
use super::{
    actions, compare, curves, evaluations, events, pages, play, replays, reports, runs, session, stream,
    sweeps, windowed,
};

/// Connections at once; others wait until one of them ends.
const MOST_CONNECTIONS: usize = 128;
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of the head of a request.
const HEAD_LIMIT: usize = 32 << 10;
/// Threads that wait for files.
const READERS: usize = 4;

/// Serves until the process is asked to end.
///
/// # Errors
/// One line: the system gives no thread or no signals.
pub fn serve(listener: TcpListener, site: Shared) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(READERS)
        .build()
        .context("cannot begin to serve")?;
    let served = runtime.block_on(accept(listener, routes(site)));
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// All that can be asked for.
fn routes(site: Shared) -> Router {
    let api = Router::new()
        .route("/openapi.json", get(pages::openapi))
        .route("/runs", get(runs::list))
        .route("/runs/{id}", get(runs::show))
        .route("/runs/{id}/curves", get(curves::show))
        .route("/runs/{id}/files/{name}", get(runs::file))
        .route("/runs/{id}/replays/{replay}", get(replays::show))
        .route("/runs/{id}/replays/{replay}/frames", get(replays::frames))
        .route("/runs/{id}/stop", post(actions::stop))
        .route("/runs/{id}/save", post(actions::save))
        .route("/compare", get(compare::show))
        .route("/sweeps", get(sweeps::list))
        .route("/sweeps/{name}", get(sweeps::show))
        .route("/evaluations", get(evaluations::list))
        .route("/evaluations/{evaluation}", get(evaluations::show))
        .route("/evaluations/{evaluation}/results", get(evaluations::results))
        .route("/reports/{report}", get(reports::show))
        .route("/reports/{report}/files/{name}", get(reports::part))
        .route("/events", get(events::all))
        .merge(play::routes());
    Router::new()
        .nest("/api/v1", api)
        .nest("/api", windowed::routes())
        .nest("/api/play", session::routes())
        .route("/ws/runs/{id}/replays/{replay}/frames", get(stream::frames))
        .route("/health", get(pages::health))
        .route("/", get(pages::runs))
        .route("/runs/{id}", get(pages::run))
        .route("/runs/{id}/replays/{replay}", get(pages::replay))
        .route("/compare", get(pages::compare))
        .route("/dashboard", get(pages::dashboard))
        .route("/play", get(pages::play))
        .route("/sweeps", get(pages::sweeps))
        .route("/sweeps/{name}", get(pages::sweep))
        .route("/evaluations", get(pages::evaluations))
        .route("/evaluations/{evaluation}", get(pages::evaluation))
        .route("/reports/{report}", get(pages::report))
        .route("/assets/{name}", get(pages::asset))
        .fallback(async |uri: Uri| Failure::missing(&format!("page {}", uri.path())))
        .method_not_allowed_fallback(async || {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "this page has no such method")
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(site.guard.clone(), guard::check))
        .with_state(site)
}

async fn accept(listener: TcpListener, routes: Router) -> Result<()> {
    listener.set_nonblocking(true).context("cannot wait for connections")?;
    let listener = tokio::net::TcpListener::from_std(listener).context("cannot wait for connections")?;
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut end = pin!(end()?);
    loop {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place.expect("the places stay"),
            () = &mut end => return Ok(()),
        };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let routes = routes.clone();
                    tokio::spawn(async move {
                        converse(stream, routes).await;
                        drop(place);
                    });
                }
                // No more files, or a client that left at once: neither is a reason to end.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            () = &mut end => return Ok(()),
        }
    }
}

/// Answers the requests of a connection. What becomes of it is the client's affair.
async fn converse(stream: TcpStream, routes: Router) {
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
        .with_upgrades()
        .await;
}

/// Waits for Ctrl-C or, where there are such, for SIGTERM.
fn end() -> Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut signal = {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate()).context("cannot listen to signals")?
    };
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = signal.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    })
}
