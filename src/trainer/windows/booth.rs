//! A booth where replays are played while the run trains on.
//!
//! A replay is an episode of one environment, which leaves most of a machine idle. So a thread of its own compiles what plays, plays with
//! the parameters that the window ended with, and writes the file; what an index says of it is the business of the run, which takes it in
//! between two chunks. Orders are played one after the other, so the files do not depend on how fast anything is.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::algorithms::reel;
use crate::array::HostArray;
use crate::envs::Entry;
use crate::trainer::replay::{Episode, Recorder};

/// What is the same for all replays of a run.
pub struct Setting {
    pub entry: Entry,
    /// Whether frames have `info`.
    pub info: bool,
    /// Episodes to choose from, and the steps of each at most.
    pub episodes: usize,
    pub max_steps: usize,
}

/// A replay that is to be played.
pub struct Order {
    /// The window whose it is, and the update that ended it.
    pub window: u64,
    pub update: u64,
    /// Ticks of the run by then.
    pub ticks: u64,
    pub params: Vec<HostArray>,
    pub seed: u64,
    pub path: PathBuf,
}

/// What became of an order.
pub struct Played {
    pub window: u64,
    pub ticks: u64,
    /// Nothing if it was cancelled.
    pub episode: Result<Option<Episode>>,
}

/// A thread that plays replays.
pub struct Booth {
    orders: Option<Sender<Order>>,
    played: Receiver<(u64, Result<Option<Episode>>)>,
    cancelled: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Window, update and ticks of the orders that are not played yet, in their order.
    waiting: VecDeque<(u64, u64, u64)>,
}

impl Booth {
    /// Begins to compile what plays.
    pub fn open(setting: Setting, plan: reel::Plan) -> Result<Booth> {
        let (orders, inbox) = channel::<Order>();
        let (outbox, played) = channel();
        let cancelled = Arc::new(AtomicBool::new(false));
        let is_cancelled = cancelled.clone();
        let work = move || {
            let mut recorder = plan.compile().map(|reel| Recorder::new(setting.entry, reel, setting.info));
            for order in inbox {
                let episode = match &mut recorder {
                    Ok(recorder) => play(recorder, &setting, &order, &is_cancelled),
                    Err(error) => Err(anyhow!("{error:#}")),
                };
                if outbox.send((order.window, episode)).is_err() {
                    return; // nobody listens any more
                }
            }
        };
        let thread = std::thread::Builder::new().name("replays".into()).spawn(work);
        let thread = Some(thread.context("cannot start a thread for replays")?);
        Ok(Booth { orders: Some(orders), played, cancelled, thread, waiting: VecDeque::new() })
    }

    pub fn order(&mut self, order: Order) -> Result<()> {
        if self.waiting.is_empty() {
            self.cancelled.store(false, Ordering::Relaxed);
        }
        let waits = (order.window, order.update, order.ticks);
        let sent = self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok());
        anyhow::ensure!(sent, ENDED);
        self.waiting.push_back(waits);
        Ok(())
    }

    /// The update of the first order that is not played yet.
    pub fn waits_for(&self) -> Option<u64> {
        self.waiting.front().map(|(_, update, _)| *update)
    }

    /// Whether a window has an order that is not played yet.
    pub fn has(&self, window: u64) -> bool {
        self.waiting.iter().any(|(other, ..)| *other == window)
    }

    /// Breaks off what was ordered so far.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// What became of the next order, if that is known within a time.
    pub fn take(&mut self, patience: Duration) -> Option<Played> {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        let &(window, _, ticks) = self.waiting.front()?;
        let episode = match self.played.recv_timeout(patience) {
            Ok((_, episode)) => episode,
            Err(Timeout) => return None,
            Err(Disconnected) => Err(anyhow!(ENDED)),
        };
        self.waiting.pop_front();
        Some(Played { window, ticks, episode })
    }
}

const ENDED: &str = "the thread of the replays has ended";

impl Drop for Booth {
    fn drop(&mut self) {
        self.cancel();
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // what it panicked of was printed
        }
    }
}

fn play(
    recorder: &mut Recorder,
    setting: &Setting,
    order: &Order,
    cancelled: &AtomicBool,
) -> Result<Option<Episode>> {
    recorder.set_params(&order.params)?;
    let mut go_on = || !cancelled.load(Ordering::Relaxed);
    let best = recorder.best_of(setting.episodes, order.seed, setting.max_steps, &mut go_on)?;
    best.map(|footage| recorder.save(&footage, &order.path)).transpose()
}
