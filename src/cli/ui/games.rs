//! The games that are open: so many at once, each on a thread of its own, and none for longer than somebody plays it.
//!
//! What is traced belongs to the thread that traced it, so a game lives on one thread from its first program to its end, and requests
//! reach it as jobs. One game is prepared at a time, because that takes a processor for seconds; all of them share one client, which is
//! that of the CPU: a single game is no work for another device, and a training on this machine keeps its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use axum::http::StatusCode;
use tokio::sync::oneshot;

use super::answer::Failure;
use super::table::Table;
use crate::algorithms::playback::Playback;
use crate::algorithms::policy::Choice;
use crate::cli::App;
use crate::cli::mistakes::as_errors;
use crate::cli::play::game::Game;
use crate::cli::player::{Place, Player};
use crate::envs::{Entry, native};
use crate::output::printable;
use crate::runtime::{Client, DeviceKind, plugin};

/// Games at once, and threads with those that are about to end.
const MOST_GAMES: usize = 16;
const MOST_THREADS: usize = 24;
/// How long nobody may ask for a game before it ends.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// How long nobody may have asked for a game that gives way to another one.
const SPARE: Duration = Duration::from_secs(60);
/// Bytes of a thread's stack: programs are traced on it.
const STACK: usize = 64 << 20;

/// All games.
pub struct Games {
    pub app: App,
    client: Arc<Mutex<Option<Client>>>,
    open: Mutex<BTreeMap<String, Open>>,
    /// Each thread has a clone.
    threads: Arc<()>,
}

struct Open {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
    asked: Instant,
}

/// What is done at a table, or with the reason why there is none.
type Job = Box<dyn FnOnce(&mut Result<Table, Failure>) + Send>;

/// Which game is wanted.
#[derive(Clone)]
pub struct Order {
    pub agent: Agent,
    /// The number of the player that the person is.
    pub person: usize,
    pub seed: u64,
    pub choice: Choice,
}

/// Who plays, or looks on.
#[derive(Clone)]
pub enum Agent {
    /// A player that needs no parameters, in an environment.
    Known(Entry, String),
    /// The same in worlds that are known by their numbers.
    InWorlds(Entry, String),
    /// The parameters in a file, with the environment and the name of the run.
    Trained(Entry, PathBuf, String),
}

impl Games {
    /// None yet.
    pub fn new(app: App) -> Games {
        Games { app, client: Arc::default(), open: Mutex::default(), threads: Arc::new(()) }
    }

    /// The environment of that name, which must be one of the program: no request has a library loaded.
    ///
    /// # Errors
    /// There is none.
    pub fn env(&self, name: &str) -> Result<Entry, Failure> {
        if name.starts_with(native::PREFIX) {
            return Err(Failure::wrong("a library is no environment of the page; `watch` shows play in it"));
        }
        let found = self.app.catalog().env(name);
        found.map_err(|error| Failure::wrong(printable(&error.to_string())))
    }

    /// Opens a game and gives its id. It is prepared while this returns.
    ///
    /// # Errors
    /// There are too many, or the system gives no thread.
    pub fn open(&self, order: Order) -> Result<String, Failure> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, game| !game.thread.is_finished());
        if open.len() >= MOST_GAMES {
            let oldest = open.iter().max_by_key(|(_, game)| game.asked.elapsed());
            let spare = oldest.filter(|(_, game)| game.asked.elapsed() > SPARE).map(|(id, _)| id.clone());
            spare.and_then(|id| open.remove(&id)).ok_or_else(full)?;
        }
        if Arc::strong_count(&self.threads) > MOST_THREADS {
            return Err(full());
        }
        let none = |what: &str| Failure::new(StatusCode::SERVICE_UNAVAILABLE, what);
        let random = || getrandom::u64().map_err(|_| none("the system gives no random numbers"));
        let id = format!("{:016x}{:016x}", random()?, random()?);
        let (jobs, received) = mpsc::channel();
        let (app, client, counted) = (self.app.clone(), self.client.clone(), self.threads.clone());
        let thread = std::thread::Builder::new().name("game".into()).stack_size(STACK);
        let thread = thread.spawn(move || {
            host(&app, &client, &order, &received);
            drop(counted);
        });
        let thread = thread.map_err(|_| none("the system gives no thread"))?;
        open.insert(id.clone(), Open { jobs, thread, asked: Instant::now() });
        Ok(id)
    }

    /// Has something done at the table of a game, and waits for it.
    ///
    /// # Errors
    /// There is no such game, it cannot be played, or what is done fails.
    pub async fn ask<T: Send + 'static>(
        &self,
        id: &str,
        work: impl FnOnce(&mut Table) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |table| {
            let done = table.as_mut().map_err(|failure| failure.clone()).and_then(work);
            let _ = sender.send(done); // whoever asked may have left
        });
        self.send(id, job)?;
        let fault = || Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the game broke; begin another one");
        receiver.await.unwrap_or_else(|_| Err(fault()))
    }

    fn send(&self, id: &str, job: Job) -> Result<(), Failure> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let game = open.get_mut(id).ok_or_else(missing)?;
        game.asked = Instant::now();
        if game.jobs.send(job).is_err() {
            open.remove(id);
            return Err(missing());
        }
        Ok(())
    }

    /// Ends a game.
    ///
    /// # Errors
    /// There is no such game.
    pub fn close(&self, id: &str) -> Result<(), Failure> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(id).map(drop).ok_or_else(missing)
    }
}

fn missing() -> Failure {
    Failure::missing("game of that id; one that nobody plays for 15 minutes ends")
}

fn full() -> Failure {
    let detail =
        format!("{MOST_GAMES} games are open; end one, or wait until one has been idle for a minute");
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}

/// Prepares a game and does what is asked for until nobody asks any more.
fn host(app: &App, client: &Mutex<Option<Client>>, order: &Order, jobs: &Receiver<Job>) {
    let mut table = None;
    let prepared = as_errors(|| {
        table = Some(prepare(app, client, order)?);
        Ok(())
    });
    let mut table = match (prepared, table) {
        (Ok(()), Some(table)) => Ok(table),
        (Ok(()), None) => unreachable!("it was prepared"),
        (Err(error), _) => Err(Failure::damaged(&error)),
    };
    while let Ok(job) = jobs.recv_timeout(IDLE) {
        job(&mut table);
    }
}

/// Compiles a game and begins it.
fn prepare(app: &App, client: &Mutex<Option<Client>>, order: &Order) -> Result<Table> {
    let mut client = client.lock().unwrap_or_else(PoisonError::into_inner);
    let client = match &*client {
        Some(client) => client.clone(),
        None => {
            let opened = Client::open(&plugin::find(Some(DeviceKind::Cpu), None)?, 1)?;
            client.insert(opened).clone()
        }
    };
    let (player, name) = player(app, order)?;
    let env = player.env.build();
    let playback = match order.agent {
        Agent::InWorlds(..) => Playback::in_worlds(&client, &*env, &player.policy),
        _ => Playback::new(&client, &*env, &player.policy),
    }?;
    let players = player.env.spec().players;
    if players > 2 {
        return Err(anyhow!(
            "{} is for {players} players; a person plays games for one or two",
            player.env.name
        ));
    }
    let person = if players == 2 { order.person } else { 0 };
    let game = Game::new(playback, &player.env, name, person, order.seed)?;
    let mut table = Table::new(game, player.env);
    table.answer().context("the agent cannot begin")?;
    Ok(table)
}

/// The agent and its name.
fn player(app: &App, order: &Order) -> Result<(Player, String)> {
    match &order.agent {
        Agent::Known(env, name) | Agent::InWorlds(env, name) => {
            let player = Player::without_params(*env, name);
            Ok((player.with_context(|| format!("{} has no player {name}", env.name))?, name.clone()))
        }
        Agent::Trained(env, file, run) => {
            let env = Some(env.name.to_owned()); // whatever the file says, no other one
            let place = Place { checkpoint_dir: PathBuf::new(), env, env_set: Vec::new() };
            Ok((Player::load(app, file, &place, order.choice)?, run.clone()))
        }
    }
}
