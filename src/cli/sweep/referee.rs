//! Ends trials early: reads their metrics while they are trained, and asks those that a rule ends to stop, as `runs stop` does.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::points::{curve, logged};
use crate::sweep::{Curve, Plan};
use crate::trainer::run_dir::{STOP_FILE, ask_by_file};

/// A run that is being trained.
#[derive(Clone, Debug)]
pub struct Running {
    pub run: PathBuf,
    /// The steps that it is to have.
    pub total: u64,
    /// The share of the seconds that it pays: trials of a group are trained together.
    pub share: f64,
}

/// Somebody who watches trials while they are trained.
pub struct Referee {
    done: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<PathBuf>>,
}

impl Referee {
    /// Watches these runs beside the curves of trials that have ended.
    pub fn begin(plan: &Plan, running: Vec<Running>, ended: Vec<Curve>) -> Referee {
        let done = Arc::new(AtomicBool::new(false));
        let (plan, is_done) = (plan.clone(), done.clone());
        let thread = thread::spawn(move || watch(&plan, &running, &ended, &is_done));
        Referee { done, thread }
    }

    /// Stops watching. Gives the runs that were asked to end.
    pub fn end(self) -> BTreeSet<PathBuf> {
        self.done.store(true, SeqCst);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_default()
    }
}

fn watch(plan: &Plan, running: &[Running], ended: &[Curve], is_done: &AtomicBool) -> BTreeSet<PathBuf> {
    let mut stopped = BTreeSet::new();
    while !is_done.load(SeqCst) {
        let begin = Instant::now();
        // One that has not begun, or cannot be read, has no curve yet.
        let read = |one: &Running| {
            logged(&one.run, &plan.metric, one.share).map(|points| curve(plan, &points, one.total))
        };
        let curves: Vec<Curve> = running.iter().map(|one| read(one).unwrap_or_default()).collect();
        for (place, one) in running.iter().enumerate() {
            let beside =
                curves.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, curve)| curve);
            let others: Vec<Curve> = beside.chain(ended).cloned().collect();
            // Where it cannot be asked, it is trained to its end.
            if !stopped.contains(&one.run)
                && plan.stopping.stops(&curves[place], &others)
                && ask_by_file(&one.run, STOP_FILE).is_ok()
            {
                stopped.insert(one.run.clone());
            }
        }
        // Most of the time is the trainer's.
        thread::park_timeout(Duration::from_millis(250).max(10 * begin.elapsed()));
    }
    stopped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_that_falls_behind_is_asked_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let text = "early_stop = \"halving\"\neta = 2\nrungs = 1\nmetric = \"train/a\"\n[lr]\ndistribution = \"uniform\"\nmin = 0\nmax = 1";
        let plan = Plan::read(text.parse().unwrap()).unwrap();
        let running = [("good", 2.0), ("bad", 1.0)].map(|(name, score)| {
            let run = folder.path().join(name);
            std::fs::create_dir(&run).unwrap();
            let row = format!("{{\"timesteps\":50,\"time/wall_seconds\":1,\"train/a\":{score}}}\n");
            std::fs::write(run.join("metrics.jsonl"), row).unwrap();
            Running { run, total: 100, share: 0.5 }
        });
        let [good, bad] = running.clone().map(|one| one.run);
        let referee = Referee::begin(&plan, running.to_vec(), Vec::new());
        let begin = Instant::now();
        while !bad.join(STOP_FILE).exists() {
            assert!(begin.elapsed() < Duration::from_secs(60), "nobody was asked to stop");
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(referee.end(), BTreeSet::from([bad]));
        assert!(!good.join(STOP_FILE).exists());
    }
}
