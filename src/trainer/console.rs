//! What a person sees of a run: a progress bar on a terminal, one line per logged row elsewhere, both on stderr; or a
//! screen of its own, which is told what there is to say.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use super::live::Live;
use super::metrics::Row;
use crate::output::tell;

/// The run's voice.
#[derive(Debug)]
pub struct Console {
    /// The screen that speaks instead, if there is one.
    live: Option<Live>,
    bar: Option<ProgressBar>,
    /// The run's name, if the console of a group tells how it goes.
    member: Option<String>,
    start: Instant,
    first_update: u64,
}

impl Console {
    /// A bar over `num_updates` updates, of which `done` are behind it, if stderr is a terminal and there is no screen.
    pub fn new(num_updates: u64, done: u64, live: Option<Live>) -> Self {
        let bar = (live.is_none() && std::io::stderr().is_terminal()).then(|| {
            let style = "{bar:24} {percent:>3}%  update {pos}/{len}  {elapsed}, {eta} left  {msg}";
            let style = ProgressStyle::with_template(style).expect("a valid template");
            let bar = ProgressBar::new(num_updates).with_style(style).with_position(done);
            bar.reset_eta();
            bar
        });
        Self { live, bar, member: None, start: Instant::now(), first_update: done }
    }

    /// The voice of one run of the group that this console tells of: its lines begin with its name, and what all of them
    /// would say alike it leaves to the group.
    pub fn of_member(&self, name: String) -> Self {
        Self { live: None, bar: self.bar.clone(), member: Some(name), ..*self }
    }

    /// Shows the run in a directory, which has its files now.
    pub fn begin(&self, directory: &Path) {
        if let Some(live) = &self.live {
            live.begin(directory);
        }
    }

    /// Says a line.
    pub fn say(&self, line: &str) {
        let named = self.member.as_ref().map(|name| format!("{name}: {line}"));
        let line = named.as_deref().unwrap_or(line);
        match (&self.live, &self.bar) {
            (Some(live), _) => live.say(line),
            (None, Some(bar)) => bar.suspend(|| tell(line)),
            (None, None) => tell(line),
        }
    }

    /// Says a line of those that every run of a group has.
    pub fn announce(&self, line: &str) {
        if self.member.is_none() {
            self.say(line);
        }
    }

    /// Says what went wrong without stopping the run.
    pub fn warn(&self, line: &str) {
        self.say(&format!("warning: {line}"));
    }

    /// Moves the bar.
    pub fn progress(
        &self,
        update: u64,
        steps_per_second: f64,
        episode_return: Option<f64>,
        entropy: Option<f64>,
    ) {
        if let (Some(bar), None) = (&self.bar, &self.member) {
            bar.set_position(update);
            bar.set_message(summary(steps_per_second, episode_return, entropy));
        }
    }

    /// Reports a logged row, where there is neither bar nor screen.
    pub fn row(&self, row: &Row) {
        if self.live.is_none() && self.bar.is_none() && self.member.is_none() {
            tell(&line(row, self.start.elapsed().as_secs_f64(), self.first_update));
        }
    }

    /// Reports how a group is, where there is no bar: its median return, and from which to which the returns reach.
    pub fn group_row(
        &self,
        update: u64,
        steps_per_second: f64,
        median: Option<f64>,
        range: Option<(f64, f64)>,
    ) {
        if self.bar.is_none() {
            let elapsed = self.start.elapsed().as_secs_f64();
            let mut text = summary(steps_per_second, median, None);
            if let Some((low, high)) = range {
                write!(text, " (from {low:.3} to {high:.3})").expect("a string takes all");
            }
            tell(&format!("[Update {update:6}] [{elapsed:.1}s] {text}"));
        }
    }

    /// Whether the screen asks the run to end.
    pub fn stop_is_asked(&self) -> bool {
        self.live.as_ref().is_some_and(Live::stop_is_asked)
    }

    /// Whether the screen has asked for a checkpoint since the last time.
    pub fn take_save(&self) -> bool {
        self.live.as_ref().is_some_and(Live::take_save)
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let (Some(bar), None) = (&self.bar, &self.member) {
            bar.abandon();
        }
    }
}

fn summary(steps_per_second: f64, episode_return: Option<f64>, entropy: Option<f64>) -> String {
    let mut text = format!("{} steps/s", thousands(steps_per_second as u64));
    for (name, value) in [("return", episode_return), ("entropy", entropy)] {
        if let Some(value) = value {
            write!(text, "  {name} {value:.3}").expect("a string takes all");
        }
    }
    text
}

/// `[Update     10] [3.1s] [3.2 updates/s] pg_loss: -0.0012, ...`
fn line(row: &Row, elapsed: f64, first_update: u64) -> String {
    let rate = (row.update - first_update) as f64 / elapsed.max(1e-9);
    let metrics: Vec<_> =
        row.names.iter().zip(&row.values).map(|(name, value)| format!("{name}: {value:.4}")).collect();
    format!("[Update {:6}] [{elapsed:.1}s] [{rate:.1} updates/s] {}", row.update, metrics.join(", "))
}

/// `3,276,800`
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_format_of_the_specification() {
        let row = Row {
            update: 20,
            timesteps: 200,
            names: vec!["pg_loss".into(), "reward/kill".into()],
            values: vec![-0.00123, 2.0],
            steps_per_second: 1.0,
            wall_seconds: 9.0,
            time: jiff::Timestamp::UNIX_EPOCH,
        };
        assert_eq!(
            line(&row, 4.0, 10),
            "[Update     20] [4.0s] [2.5 updates/s] pg_loss: -0.0012, reward/kill: 2.0000"
        );
    }

    #[test]
    fn large_numbers_are_readable() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(3_276_800), "3,276,800");
        assert_eq!(summary(12_345.6, Some(-1.0), None), "12,345 steps/s  return -1.000");
    }
}
