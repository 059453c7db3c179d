//! A journal in a PostgreSQL database, for workers on any number of machines.
//!
//! The events of a sweep are rows of `lockstep_events`. Whoever reads and writes them holds the row of the sweep in `lockstep_sweeps` locked
//! (`SELECT ... FOR UPDATE`) until the transaction ends, so workers decide one after the other: a suggestion needs all that is known, and no
//! two of them can be made at once. A worker says every few seconds that it is there; the clock is that of the server, so those of the
//! machines need not agree. One that was silent for too long is taken for dead, and its trials are given out again.

use std::any::Any;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use postgres::{Client, NoTls};

use super::Storage;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS lockstep_sweeps (name text PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS lockstep_events (
        sweep text NOT NULL REFERENCES lockstep_sweeps ON DELETE CASCADE,
        number bigint NOT NULL,
        event text NOT NULL,
        PRIMARY KEY (sweep, number));
    CREATE TABLE IF NOT EXISTS lockstep_workers (
        sweep text NOT NULL REFERENCES lockstep_sweeps ON DELETE CASCADE,
        worker text NOT NULL,
        seen timestamptz NOT NULL,
        PRIMARY KEY (sweep, worker));";

/// Tables are made by one connection at a time: PostgreSQL lets two of them collide. Any number that nobody else uses.
const MAKING_TABLES: i64 = 0x6c6f_636b_7374_6570;

/// Whether a storage is a database of this kind.
pub fn is_postgres(url: &str) -> bool {
    ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme))
}

/// The journal of a sweep in a database.
pub struct PostgresStorage {
    url: String,
    client: Client,
    sweep: String,
    /// Events that were read.
    read: i64,
    /// How long a worker may be silent.
    patience: Duration,
}

/// The last cause of an error says most.
fn told(error: postgres::Error) -> anyhow::Error {
    let error = anyhow::Error::from(error);
    anyhow!("{}", error.root_cause().to_string().replace('\n', " "))
}

fn connect(url: &str) -> Result<Client> {
    let connected = Client::connect(url, NoTls).map_err(told);
    connected.with_context(|| format!("cannot connect to {}", without_password(url)))
}

/// The URL as people may see it.
fn without_password(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
        Some((scheme, (user, host))) => {
            format!("{scheme}://{}@{host}", user.split(':').next().unwrap_or_default())
        }
        None => url.to_owned(),
    }
}

impl PostgresStorage {
    /// Makes the place of a new sweep in a database.
    ///
    /// # Errors
    /// One line: there is no such server, or there is a sweep of that name.
    pub fn create(url: &str, sweep: &str, patience: Duration) -> Result<PostgresStorage> {
        let mut client = connect(url)?;
        let place = without_password(url);
        let mut making = client.transaction().map_err(told)?;
        making.execute("SELECT pg_advisory_xact_lock($1)", &[&MAKING_TABLES]).map_err(told)?;
        making
            .batch_execute(TABLES)
            .map_err(told)
            .with_context(|| format!("cannot make tables in {place}"))?;
        let insert = "INSERT INTO lockstep_sweeps VALUES ($1) ON CONFLICT DO NOTHING";
        let is_new = making.execute(insert, &[&sweep]).map_err(told)? == 1;
        ensure!(
            is_new,
            "{place} has a sweep {sweep} already; choose another --run-name, or work on it: sweep worker --storage"
        );
        making.commit().map_err(told)?;
        Ok(PostgresStorage { url: url.to_owned(), client, sweep: sweep.to_owned(), read: 0, patience })
    }

    /// Opens a sweep in a database: the one of that name, or the only one.
    ///
    /// # Errors
    /// One line: there is no such server or sweep, or more than one.
    pub fn open(url: &str, sweep: Option<&str>, patience: Duration) -> Result<PostgresStorage> {
        let mut client = connect(url)?;
        let place = without_password(url);
        let found = client.query("SELECT name FROM lockstep_sweeps ORDER BY name", &[]);
        let names: Vec<String> = match found {
            Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
            Err(error) if error.code() == Some(&postgres::error::SqlState::UNDEFINED_TABLE) => Vec::new(),
            Err(error) => return Err(told(error)).with_context(|| format!("cannot read {place}")),
        };
        let sweep = match (sweep, &names[..]) {
            (_, []) => bail!("{place} holds no sweep; begin one with: lockstep sweep FILE --storage URL"),
            (Some(sweep), names) if names.iter().any(|name| name == sweep) => sweep.to_owned(),
            (None, [only]) => only.clone(),
            (Some(sweep), names) => bail!("{place} has no sweep {sweep}; it has {}", names.join(", ")),
            (None, names) => {
                bail!("{place} has several sweeps; add --run-name with one of {}", names.join(", "))
            }
        };
        Ok(PostgresStorage { url: url.to_owned(), client, sweep, read: 0, patience })
    }

    fn locked(&mut self, decide: &mut dyn FnMut(Vec<String>) -> Result<Vec<String>>) -> Result<i64> {
        let PostgresStorage { client, sweep, read, .. } = self;
        let mut work = client.transaction().map_err(told)?;
        work.execute("SELECT 1 FROM lockstep_sweeps WHERE name = $1 FOR UPDATE", &[sweep]).map_err(told)?;
        let select = "SELECT event FROM lockstep_events WHERE sweep = $1 AND number > $2 ORDER BY number";
        let rows = work.query(select, &[sweep, read]).map_err(told)?;
        let mut number = *read + rows.len() as i64;
        for line in decide(rows.iter().map(|row| row.get(0)).collect())? {
            number += 1;
            work.execute("INSERT INTO lockstep_events VALUES ($1, $2, $3)", &[sweep, &number, &line])
                .map_err(told)?;
        }
        work.commit().map_err(told)?;
        Ok(number)
    }
}

impl Storage for PostgresStorage {
    fn exclusive(&mut self, decide: &mut dyn FnMut(Vec<String>) -> Result<Vec<String>>) -> Result<()> {
        // A server that was restarted is asked once more.
        if self.client.is_closed() {
            self.client = connect(&self.url)?;
        }
        self.read = self.locked(decide).with_context(|| self.describe())?;
        Ok(())
    }

    fn enlist(&self, worker: &str) -> Result<Box<dyn Any>> {
        Ok(Box::new(Heartbeat::begin(self, worker)?))
    }

    fn is_alive(&mut self, worker: &str) -> Result<bool> {
        let select = "SELECT now() - seen < $3 * interval '1 second' FROM lockstep_workers WHERE sweep = $1 AND worker = $2";
        let seconds = self.patience.as_secs_f64();
        if self.client.is_closed() {
            self.client = connect(&self.url)?;
        }
        let row = self.client.query_opt(select, &[&self.sweep, &worker, &seconds]).map_err(told)?;
        Ok(row.is_some_and(|row| row.get(0)))
    }

    fn describe(&self) -> String {
        format!("the sweep {} in {}", self.sweep, without_password(&self.url))
    }
}

/// Says that a worker is there, from a thread and a connection of its own: while a program is compiled, nobody else could.
struct Heartbeat {
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    fn begin(storage: &PostgresStorage, worker: &str) -> Result<Heartbeat> {
        let (url, sweep, worker) = (storage.url.clone(), storage.sweep.clone(), worker.to_owned());
        let mut client = connect(&url)?;
        beat(&mut client, &sweep, &worker).map_err(told)?;
        let (stop, stopped) = channel();
        let pause = storage.patience / 5;
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                // A server that is away may come back in time.
                if beat(&mut client, &sweep, &worker).is_err()
                    && let Ok(again) = connect(&url)
                {
                    client = again;
                }
            }
            let _ = client
                .execute("DELETE FROM lockstep_workers WHERE sweep = $1 AND worker = $2", &[&sweep, &worker]);
        });
        Ok(Heartbeat { stop, thread: Some(thread) })
    }
}

fn beat(client: &mut Client, sweep: &str, worker: &str) -> Result<(), postgres::Error> {
    let upsert = "INSERT INTO lockstep_workers VALUES ($1, $2, now()) ON CONFLICT (sweep, worker) DO UPDATE SET seen = now()";
    client.execute(upsert, &[&sweep, &worker]).map(drop)
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it ends within one query
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(without_password("postgres://me:secret@host/db"), "postgres://me@host/db");
        assert_eq!(without_password("postgres://host/db"), "postgres://host/db");
        assert!(is_postgres("postgresql://x") && !is_postgres("runs/s"));
    }
}
