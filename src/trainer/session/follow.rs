//! Windows and replays, as a run goes on.
//!
//! Chunks end at the latest with the update in which a window may end, so that what is kept of a window is what the agent is then. As with
//! all that people follow a run by, what cannot be written or played is a warning.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::Session;
use super::report::HEARTBEAT;
use crate::algorithms::Learner;
use crate::trainer::Progress;
use crate::trainer::run_dir::RunDir;
use crate::trainer::settings::Settings;
use crate::trainer::status::State;
use crate::trainer::tally::{Tally, Window};
use crate::trainer::windows::{Played, WINDOWS, Windows};

/// How long a run that waits for a replay does not look whether it is to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// Opens the windows of a run as its `progress` knows them, if the settings want any.
pub(super) fn open_windows(
    settings: &Settings,
    run: &RunDir,
    facts: &[(String, Value)],
    learner: &dyn Learner,
    progress: &mut Progress,
) -> Result<Option<Windows>> {
    let platform = facts.iter().find(|(key, _)| key == "platform").and_then(|(_, value)| value.as_str());
    let offset = progress.offsets.get(WINDOWS).copied().unwrap_or(0);
    let tally = progress.windows.take().unwrap_or_else(Tally::new);
    let windows = Windows::open(settings, run.path(), learner, &tally, offset, platform)?;
    progress.windows = windows.is_some().then_some(tally);
    Ok(windows)
}

/// The windows of a session and what they have come to.
pub(super) struct Open<'a> {
    pub windows: &'a mut Windows,
    pub tally: &'a mut Tally,
}

impl Session<'_> {
    fn open_windows(&mut self) -> Option<Open<'_>> {
        let (windows, tally) = self.windows.as_mut().zip(self.progress.windows.as_mut())?;
        Some(Open { windows, tally })
    }

    /// Whether the run has all the ticks that it is to have.
    pub(super) fn has_all_ticks(&self) -> bool {
        let open = self.windows.as_ref().zip(self.progress.windows.as_ref());
        open.is_some_and(|(windows, tally)| windows.are_done(tally))
    }

    /// Updates in which no window can end before the last of them.
    pub(super) fn updates_to_window_end(&self) -> u64 {
        let open = self.windows.as_ref().zip(self.progress.windows.as_ref());
        open.map_or(u64::MAX, |(windows, tally)| windows.updates_to_an_end(tally))
    }

    /// Takes in the steps of the chunk that was just run, and does what is due for the windows that are over.
    pub(super) fn follow(&mut self) -> Result<()> {
        let (Some(windows), Some(tally)) = (&mut self.windows, &mut self.progress.windows) else {
            return Ok(());
        };
        let closed = windows.take(&*self.learner, tally)?;
        self.take_in_replays();
        self.tell_of_windows(&closed);
        self.keep_windows(closed.iter().map(|window| window.number).collect());
        Ok(())
    }

    /// Logs windows that are over.
    fn tell_of_windows(&mut self, closed: &[Window]) {
        for window in closed {
            let Some(windows) = &mut self.windows else { return };
            let logged = windows.log(window);
            let row = windows.are_shown().then(|| windows.row(window));
            self.warn_of(logged);
            if let Some(row) = row {
                self.trackers.window(&row, row.end(), self.progress.seconds);
            }
        }
        if !closed.is_empty() {
            self.write_windows(State::Running, None);
        }
    }

    /// Keeps those of these windows that are to be kept: a checkpoint of each, and a replay.
    fn keep_windows(&mut self, numbers: Vec<u64>) {
        for number in numbers {
            if !self.windows.as_ref().is_some_and(|windows| windows.is_kept(number)) {
                continue;
            }
            let kept = self.save_window(number);
            self.warn_of(kept);
            self.replay_window(number);
            self.write_windows(State::Running, None);
        }
    }

    /// Plays the replays that the windows of the last update lack: their playing was interrupted.
    pub(super) fn catch_up_with_windows(&mut self) {
        let Some(Open { windows, tally }) = self.open_windows() else { return };
        let lacking: Vec<u64> =
            (tally.closed_from..tally.number).filter(|&number| windows.lacks_replay(number)).collect();
        lacking.into_iter().for_each(|number| self.replay_window(number));
        self.write_windows(State::Running, None);
    }

    fn save_window(&mut self, number: u64) -> Result<()> {
        let mut checkpoint = self.checkpoint()?;
        if let Some(tally) = &mut checkpoint.progress.windows {
            tally.checkpoints += 1; // it counts itself
        }
        let Some(Open { windows, tally }) = self.open_windows() else { return Ok(()) };
        let artifact = windows.save(number, tally, |path| checkpoint.save(path))?;
        let is_shown = windows.are_shown();
        if is_shown {
            self.trackers.artifact(&artifact);
        }
        Ok(())
    }

    /// Has the replay of a window played, while the run trains on.
    fn replay_window(&mut self, number: u64) {
        let update = self.progress.update;
        let (Some(windows), Some(tally)) = (&mut self.windows, &self.progress.windows) else { return };
        if !windows.lacks_replay(number) {
            return;
        }
        let ordered = windows.order_replay(number, update, &*self.learner, &self.settings, tally);
        if let Err(error) = ordered {
            self.tell_of_lost_replay(number, &error);
        }
    }

    fn tell_of_lost_replay(&mut self, number: u64, error: &anyhow::Error) {
        let text = format!("the replay of window {number} failed: {error:#}; training continues");
        self.console.warn(&text);
        self.alert("a replay failed", &text);
    }

    /// Takes in the replays that are played by now.
    fn take_in_replays(&mut self) {
        let mut is_any = false;
        while self.take_in_replay(Duration::ZERO) {
            is_any = true;
        }
        if is_any {
            self.write_windows(State::Running, None);
        }
    }

    /// Takes in the next replay, if it is played within a time. Says whether it was.
    fn take_in_replay(&mut self, patience: Duration) -> bool {
        let Some(windows) = &mut self.windows else { return false };
        let Some(Played { window, ticks, episode }) = windows.played(patience) else { return false };
        let kept = match episode {
            Ok(Some(episode)) => windows.take_in(window, ticks, &episode).map(Some),
            Ok(None) => Ok(None), // the run is asked to stop; it is played when the run goes on
            Err(error) => Err(error),
        };
        match kept {
            Ok(Some(artifact)) if windows.are_shown() => self.trackers.artifact(&artifact),
            Ok(_) => {}
            Err(error) => self.tell_of_lost_replay(window, &error),
        }
        true
    }

    /// Waits for the replays that are being played, and says meanwhile that the run lives. Those of the last update are broken off if the run
    /// is asked to stop: it plays them when it goes on.
    pub(super) fn wait_for_replays(&mut self) {
        let (mut last, mut is_any) = (Instant::now(), false);
        while let Some(update) = self.windows.as_ref().and_then(Windows::plays_for) {
            if update == self.progress.update && self.stop_is_asked() {
                self.windows.iter().for_each(Windows::cancel_replays);
            }
            is_any |= self.take_in_replay(PATIENCE);
            if last.elapsed() >= HEARTBEAT {
                last = Instant::now();
                self.write_status(State::Running, None);
            }
        }
        if is_any {
            self.write_windows(State::Running, None);
        }
    }

    /// Waits for the replays of earlier updates: a run that goes on from a checkpoint of this one has their parameters no more.
    pub(super) fn wait_for_earlier_replays(&mut self) {
        let update = self.progress.update;
        if self.windows.as_ref().and_then(Windows::plays_for).is_some_and(|earlier| earlier < update) {
            self.wait_for_replays();
        }
    }

    /// Logs the window that is left open at the end, if it is to be kept.
    pub(super) fn end_windows(&mut self) {
        let Some(Open { windows, tally }) = self.open_windows() else { return };
        let Some(rest) = windows.rest(tally) else { return };
        self.tell_of_windows(std::slice::from_ref(&rest));
        self.keep_windows(vec![rest.number]);
    }

    /// Writes how far the windows are, and how the run ended if it has.
    pub(super) fn write_windows(&mut self, state: State, error: Option<&str>) {
        let url = self.trackers.wandb_url();
        let update = self.progress.update;
        let Some(Open { windows, tally }) = self.open_windows() else { return };
        let written = windows.write(state, error, tally, update, url);
        self.warn_of(written);
    }

    /// What trackers are told of the windows as a whole.
    pub(super) fn sum_up_windows(&mut self, failed: bool) {
        let shown = self.windows.as_ref().is_some_and(Windows::are_shown);
        if let (Some(tally), true) = (&self.progress.windows, shown) {
            self.trackers.sum_up(&Windows::summary(tally), failed);
        }
    }

    fn warn_of(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.console.warn(&format!("{error:#}; training continues"));
        }
    }

    /// Whether the numbers of the run go to trackers by its windows, not by its intervals.
    pub(super) fn shows_windows(&self) -> bool {
        self.windows.as_ref().is_some_and(Windows::are_shown)
    }
}
