//! The thread: it gathers the points of the history and other tasks, and sends them in a rhythm of its own.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::{Event, Pace, Service, Voice};
use crate::trainer::status::State;
use crate::trainer::trackers::event::Point;
use crate::trainer::trackers::http::Failure;

pub(super) struct Worker<S> {
    service: S,
    voice: Voice,
    pace: Pace,
    is_connected: bool,
    /// Steps up to here are there already.
    last_step: Option<u64>,
    /// Points that the server does not have yet.
    points: VecDeque<Point>,
    /// Those that were thinned out.
    dropped: u64,
    tasks: VecDeque<Task>,
    last_post: Option<Instant>,
    started: Instant,
    failures: u32,
    /// Whether the present trouble has been told.
    complained: bool,
    ended: Option<State>,
}

/// Something to do beside the history.
struct Task {
    event: Event,
    tries: u32,
}

impl<S: Service> Worker<S> {
    pub(super) fn new(service: S, voice: Voice, pace: Pace) -> Self {
        Self {
            service,
            voice,
            pace,
            is_connected: false,
            last_step: None,
            points: VecDeque::new(),
            dropped: 0,
            tasks: VecDeque::new(),
            last_post: None,
            started: Instant::now(),
            failures: 0,
            complained: false,
            ended: None,
        }
    }

    /// Takes events as they come and sends when it is time, until the last is sent or nothing can be sent any more.
    pub(super) fn work(mut self, events: &Receiver<Event>) {
        let mut next = Instant::now();
        let name = S::NAME;
        loop {
            match events.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    self.take(event);
                    if self.ended.is_none() {
                        continue;
                    }
                    self.failures = 0; // the last event is sent at once
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return, // the run has given up waiting
            }
            match self.send() {
                Ok(true) => return,
                Ok(false) => {
                    (self.failures, self.complained) = (0, false);
                    next = Instant::now() + self.interval();
                }
                Err(Failure::Permanent(reason)) => {
                    let notice = format!("{name} refuses the run ({reason}); nothing more is sent there");
                    return self.voice.say(&notice);
                }
                Err(Failure::Transient(reason, wait)) => {
                    next = Instant::now() + wait.unwrap_or_else(|| self.pause());
                    self.failures += 1;
                    if self.failures >= 3 && !self.complained {
                        self.complained = true;
                        let notice =
                            format!("{name} cannot be reached ({reason}); trying again from time to time");
                        self.voice.say(&notice);
                    }
                }
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Point(point) => {
                self.service.note(&point);
                if self.is_there(&point) {
                    self.count_as_sent(1);
                    return;
                }
                self.points.push_back(point);
                if self.points.len() > self.pace.most_rows {
                    self.thin_out();
                }
            }
            Event::Summary(fields) => self.service.sum_up(fields),
            Event::Console(lines) => self.service.console(lines),
            Event::Utilisation(point) => self.service.utilisation(point),
            Event::Finish(state) => self.ended = Some(state),
            event @ (Event::Alert(_) | Event::Artifact(..)) => self.tasks.push_back(Task { event, tries: 0 }),
        }
    }

    /// Drops every second of the points that wait.
    fn thin_out(&mut self) {
        let before = self.points.len();
        let mut keep = false;
        self.points.retain(|_| {
            keep = !keep;
            keep
        });
        self.dropped += (before - self.points.len()) as u64;
    }

    /// The rhythm of W&B's own client: often at first, seldom later.
    fn interval(&self) -> Duration {
        match self.started.elapsed() / 30 {
            age if age < self.pace.post => self.pace.post,
            age if age < self.pace.post * 5 => self.pace.post * 5,
            _ => self.pace.post * 15,
        }
    }

    fn pause(&self) -> Duration {
        self.pace.pause * 2u32.pow(self.failures.min(7)).min(150)
    }

    /// Sends what waits. Says whether the run is over and everything is sent.
    fn send(&mut self) -> Result<bool, Failure> {
        if !self.is_connected {
            self.last_step = self.service.connect(&self.voice)?;
            self.is_connected = true;
            let before = self.points.len();
            let last_step = self.last_step;
            self.points.retain(|point| last_step.is_none_or(|last| point.step > last));
            self.count_as_sent(before - self.points.len());
        }
        while !self.points.is_empty() {
            let count = self.service.post(&mut self.points.iter(), self.dropped, &self.voice)?;
            self.points.drain(..count);
            self.count_as_sent(count);
            self.last_post = Some(Instant::now());
        }
        let is_quiet = self.last_post.is_none_or(|last| last.elapsed() >= self.pace.heartbeat);
        if is_quiet && self.ended.is_none() {
            self.service.beat(self.dropped, &self.voice)?;
            self.last_post = Some(Instant::now());
        }
        while let Some(task) = self.tasks.pop_front() {
            self.perform(task)?;
        }
        match self.ended {
            None => Ok(false),
            Some(state) => self.service.complete(state, self.dropped, &self.voice).map(|()| true),
        }
    }

    /// Whether the server has a point already.
    fn is_there(&self, point: &Point) -> bool {
        self.last_step.is_some_and(|last| point.step <= last)
    }

    fn count_as_sent(&self, count: usize) {
        self.voice.shared.sent.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Does a task. After three failures it is given up, and the history goes on.
    fn perform(&mut self, mut task: Task) -> Result<(), Failure> {
        let (done, what) = match &task.event {
            Event::Alert(alert) => {
                (self.service.alert(alert, &self.voice), format!("the alert {:?}", alert.title))
            }
            Event::Artifact(artifact, held) => {
                let done = self.service.artifact(artifact, held.path(), &self.voice);
                (done, format!("the artifact {}", artifact.name))
            }
            _ => unreachable!("others are no tasks"),
        };
        task.tries += 1;
        match done {
            Ok(()) => {
                if let Event::Artifact(..) = task.event {
                    self.voice.shared.artifacts_sent.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
            Err(failure @ Failure::Transient(..)) if task.tries < 3 => {
                self.tasks.push_front(task);
                Err(failure)
            }
            Err(failure) => {
                self.voice.say(&format!("{} did not take {what}: {failure}", S::NAME));
                Ok(())
            }
        }
    }
}
