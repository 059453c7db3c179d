//! What a person sees of a run: a progress bar on a terminal, one line per logged row elsewhere, both on stderr; or a
//! screen of its own, which is told what there is to say.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::live::Live;
use super::metrics::Row;
use crate::output::{can_draw, tell};

use super::readable::{ABSENT, count, duration, significant};
use super::settings::LogFormat;
use super::stage::Stage;

/// What a run is to reach, and where it begins.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    pub num_updates: u64,
    /// Updates that are behind it.
    pub first_update: u64,
    pub timesteps_per_update: u64,
    /// How a logged row is told.
    pub format: LogFormat,
}

impl Goal {
    /// The share that is done after so many timesteps, in percent.
    fn percent(&self, timesteps: u64) -> u64 {
        100 * timesteps / self.timesteps().max(1)
    }

    fn timesteps(&self) -> u64 {
        self.num_updates * self.timesteps_per_update
    }

    /// How long what is left takes at some rate, if anything is known of that.
    fn left(&self, timesteps: u64, steps_per_second: f64) -> Option<String> {
        let steps = self.timesteps().saturating_sub(timesteps) as f64;
        (steps_per_second > 0.0).then(|| duration(steps / steps_per_second))
    }
}

/// How a run is at some moment.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    pub update: u64,
    pub steps_per_second: f64,
    pub episode_return: Option<f64>,
    pub entropy: Option<f64>,
}

/// The run's voice.
#[derive(Debug)]
pub struct Console {
    /// The screen that speaks instead, if there is one.
    live: Option<Live>,
    bar: Option<ProgressBar>,
    /// The run's name, if the console of a group tells how it goes.
    member: Option<String>,
    /// Says that the first update lasts, until it is done.
    first: RefCell<Option<Stage>>,
    /// The last lines that were said and that nobody has taken, with their moments.
    heard: RefCell<VecDeque<(jiff::Timestamp, String)>>,
    /// Checkpoints that the screen has asked for and that were heard.
    saves: Cell<u64>,
    start: Instant,
    goal: Goal,
}

impl Console {
    /// A bar if stderr is a terminal that can draw one and there is no screen.
    pub fn new(goal: Goal, live: Option<Live>) -> Self {
        let bar = (live.is_none() && can_draw(&std::io::stderr())).then(|| {
            let bar = ProgressBar::new(goal.num_updates).with_position(goal.first_update);
            bar.set_style(bar_style("{wide_msg} {elapsed}"));
            bar.set_message(FIRST);
            bar.enable_steady_tick(CLOCK);
            bar
        });
        let saves = Cell::new(live.as_ref().map_or(0, Live::saves));
        let (first, heard) = Default::default();
        Self { live, bar, member: None, first, heard, saves, start: Instant::now(), goal }
    }

    /// Says that the first update has begun, where no bar and no screen shows a clock.
    pub fn begin_first_update(&self) {
        if let (None, None, None) = (&self.live, &self.bar, &self.member) {
            self.first.replace(Some(Stage::plain(FIRST)));
        }
    }

    /// Says no more that the first update lasts.
    fn end_first_update(&self) {
        self.first.take();
        if let (Some(bar), None) = (&self.bar, &self.member) {
            bar.disable_steady_tick();
            bar.set_style(bar_style("{wide_msg}"));
        }
    }

    /// The voice of one run of the group that this console tells of: its lines begin with its name, and what all of them
    /// would say alike it leaves to the group.
    pub fn of_member(&self, name: String) -> Self {
        let (live, bar, saves) = (self.live.clone(), self.bar.clone(), self.saves.clone());
        let (first, heard) = Default::default();
        Self { live, bar, member: Some(name), first, heard, saves, ..*self }
    }

    /// Shows the run in a directory, which has its files now.
    pub fn begin(&self, directory: &Path) {
        if let Some(live) = &self.live {
            live.begin(directory);
        }
    }

    /// Says a line.
    pub fn say(&self, line: &str) {
        self.hear(line);
        let named = self.member.as_ref().map(|name| format!("{name}: {line}"));
        let line = named.as_deref().unwrap_or(line);
        match (&self.live, &self.bar) {
            (Some(live), _) => live.say(line),
            (None, Some(bar)) => bar.suspend(|| tell(line)),
            (None, None) => tell(line),
        }
    }

    /// Keeps a line for those who take what was heard.
    fn hear(&self, line: &str) {
        const MOST: usize = 1000;
        let mut heard = self.heard.borrow_mut();
        if heard.len() == MOST {
            heard.pop_front();
        }
        heard.push_back((jiff::Timestamp::now(), line.to_owned()));
    }

    /// What was said since this was last asked, rows included, the last thousand lines at most.
    pub fn take_heard(&self) -> Vec<(jiff::Timestamp, String)> {
        self.heard.take().into()
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
    pub fn progress(&self, pulse: &Pulse) {
        self.end_first_update();
        if let (Some(bar), None) = (&self.bar, &self.member) {
            bar.set_position(pulse.update);
            let room = terminal_width().saturating_sub(BAR_WIDTH + 1);
            bar.set_message(self.goal.bar_text(pulse, room));
        }
    }

    /// Reports a logged row, where there is no bar; a screen tells it if it is closed.
    pub fn row(&self, row: &Row) {
        let line = || match self.goal.format {
            LogFormat::Short => self.goal.line(row),
            LogFormat::Spec => spec_line(row, self.start.elapsed().as_secs_f64(), self.goal.first_update),
        };
        let line = line();
        self.hear(&line);
        match (&self.live, &self.bar, &self.member) {
            (Some(live), _, None) => live.row(&line),
            (None, None, None) => tell(&line),
            _ => {} // the group tells it
        }
    }

    /// Reports how a group is, where there is no bar: its median return, and from which to which the returns reach.
    pub fn group_row(&self, pulse: &Pulse, range: Option<(f64, f64)>) {
        if self.bar.is_none() {
            let timesteps = pulse.update * self.goal.timesteps_per_update;
            let mut text = self.goal.line_begin(timesteps, pulse.steps_per_second);
            let number = |value: Option<f64>| value.map_or(ABSENT.into(), |value| significant(value, 3));
            let (low, high) = range.unzip();
            write!(
                text,
                "  median return {} of {} to {}",
                number(pulse.episode_return),
                number(low),
                number(high)
            )
            .expect("a string takes all");
            self.live.as_ref().map_or_else(|| tell(&text), |live| live.row(&text));
        }
    }

    /// Whether the screen asks the run to end.
    pub fn stop_is_asked(&self) -> bool {
        self.live.as_ref().is_some_and(Live::stop_is_asked)
    }

    /// Whether the screen has asked for a checkpoint since the last time.
    pub fn take_save(&self) -> bool {
        let asked = self.live.as_ref().map_or(0, Live::saves);
        self.saves.replace(asked) != asked
    }

    /// Whether a key of the screen asks the run to end with what it has, which is no interrupt.
    pub fn is_enough(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.stop_is_asked() && !live.is_interrupted())
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.end_first_update();
        if let (Some(bar), None) = (&self.bar, &self.member) {
            bar.abandon();
        }
    }
}

/// The bar, and what stands beside it.
fn bar_style(beside: &str) -> ProgressStyle {
    ProgressStyle::with_template(&format!("{{bar:{BAR_WIDTH}}} {beside}")).expect("a valid template")
}

/// The metrics in a line: the name in the logs, that in the line, and the width of the value.
const KEY_METRICS: [(&str, &str, usize); 6] = [
    ("train/mean_episode_return", "return", 6),
    ("train/mean_episode_length", "length", 4),
    ("train/entropy", "entropy", 6),
    ("train/approx_kl", "kl", 7),
    ("train/clip_frac", "clip", 6),
    ("train/vf_loss", "vf", 6),
];
/// What a run does before there is anything to measure.
const FIRST: &str = "the first update";
/// How often a clock is drawn again.
const CLOCK: Duration = Duration::from_millis(200);
/// Characters of the bar itself.
const BAR_WIDTH: usize = 8;
/// The most characters of a line.
const LINE_WIDTH: usize = 120;

impl Goal {
    /// ` 1.25M/10.0M  12%  61.2k/s    2m 3s left  return    213  length  213  entropy  0.612  kl 0.00412  ...`
    fn line(&self, row: &Row) -> String {
        let mut line = self.line_begin(row.timesteps, row.steps_per_second);
        for (metric, name, width) in KEY_METRICS {
            if row.names.iter().any(|other| other == metric) {
                let value = row.get(metric).map_or(ABSENT.into(), |value| significant(value.into(), 3));
                let part = format!("  {name} {value:>width$}");
                if line.len() + part.len() <= LINE_WIDTH {
                    line += &part;
                }
            }
        }
        line
    }

    fn line_begin(&self, timesteps: u64, steps_per_second: f64) -> String {
        let (done, total) = (count(timesteps as f64), count(self.timesteps() as f64));
        let (percent, rate) = (self.percent(timesteps), count(steps_per_second));
        let left = self.left(timesteps, steps_per_second).unwrap_or(ABSENT.into());
        format!("{done:>5}/{total} {percent:>3}%  {rate:>5}/s  {left:>7} left")
    }

    /// What stands beside the bar: of what is less important, as much as fits.
    fn bar_text(&self, pulse: &Pulse, room: usize) -> String {
        let timesteps = pulse.update * self.timesteps_per_update;
        let (done, total) = (count(timesteps as f64), count(self.timesteps() as f64));
        let mut text = format!("{:>3}%  {done}/{total}", self.percent(timesteps));
        let number =
            |name: &str, value: Option<f64>| value.map(|value| format!("{name} {}", significant(value, 3)));
        let parts = [
            self.left(timesteps, pulse.steps_per_second).map(|left| format!("{left} left")),
            Some(number("return", pulse.episode_return).unwrap_or(format!("return {ABSENT}"))),
            Some(format!("{}/s", count(pulse.steps_per_second))),
            number("entropy", pulse.entropy),
        ];
        for part in parts.into_iter().flatten() {
            if text.len() + 2 + part.len() <= room {
                text = format!("{text}  {part}");
            }
        }
        text
    }
}

/// Columns of stderr, if it is a terminal that says so.
fn terminal_width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    size.map(|size| usize::from(size.ws_col)).ok().filter(|width| *width > 0).unwrap_or(80)
}

/// `[Update     10] [3.1s] [3.2 updates/s] train/pg_loss: -0.0012, ...`
fn spec_line(row: &Row, elapsed: f64, first_update: u64) -> String {
    let rate = (row.update - first_update) as f64 / elapsed.max(1e-9);
    let text = |value: &Option<f32>| value.map_or("-".to_string(), |value| format!("{value:.4}"));
    let metrics: Vec<_> =
        row.names.iter().zip(&row.values).map(|(name, value)| format!("{name}: {}", text(value))).collect();
    format!("[Update {:6}] [{elapsed:.1}s] [{rate:.1} updates/s] {}", row.update, metrics.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: [f32; 7]) -> Row {
        let names =
            KEY_METRICS.map(|(metric, ..)| metric.to_owned()).into_iter().chain(["reward/kill".into()]);
        Row {
            update: 20,
            timesteps: 1_250_000,
            names: names.collect(),
            values: values.map(Some).to_vec(),
            steps_per_second: 61_234.0,
            updates_per_second: 1.0,
            wall_seconds: 9.0,
            phases: None,
            episodes: 0,
            rates: crate::algorithms::schedule::Rates::default(),
            time: jiff::Timestamp::UNIX_EPOCH,
            naming: Default::default(),
        }
    }

    const GOAL: Goal =
        Goal { num_updates: 160, first_update: 10, timesteps_per_update: 62_500, format: LogFormat::Short };

    #[test]
    fn lines_are_short_and_aligned() {
        let usual = GOAL.line(&row([213.4, 213.4, 0.6123, 0.004_123, 0.1204, 0.034_56, 2.0]));
        assert_eq!(
            usual,
            "1.25M/10.0M  12%  61.2k/s   2m 22s left  return    213  length  213  entropy  0.612  kl 0.00412  \
             clip  0.120  vf 0.0346"
        );
        let other = GOAL.line(&row([-3.34, 43.0, 1.8, 0.01, 0.0, 1234.0, 2.0]));
        assert_eq!(usual.len(), other.len());
        assert_eq!(usual.find("clip"), other.find("clip"));
        let wide = GOAL.line(&row([-1.234e-9; 7]));
        let mut none = row([213.4; 7]);
        none.values[0] = None;
        assert!(GOAL.line(&none).contains("left  return      -  length"), "{}", GOAL.line(&none));
        assert!(usual.len() <= LINE_WIDTH && wide.len() <= LINE_WIDTH, "{wide}");
    }

    #[test]
    fn spec_lines_have_the_format_of_the_specification() {
        let row = Row {
            names: vec!["train/pg_loss".into(), "reward/kill".into(), "train/mean_episode_return".into()],
            values: vec![Some(-0.00123), Some(2.0), None],
            ..row([0.0; 7])
        };
        assert_eq!(
            spec_line(&row, 4.0, 10),
            "[Update     20] [4.0s] [2.5 updates/s] train/pg_loss: -0.0012, reward/kill: 2.0000, \
             train/mean_episode_return: -"
        );
    }

    #[test]
    fn the_first_update_is_told_until_it_is_done() {
        let console = Console { bar: None, ..Console::new(GOAL, None) };
        let member = console.of_member("run-s1".into());
        member.begin_first_update();
        assert!(member.first.borrow().is_none(), "the group says it");
        console.begin_first_update();
        assert!(console.first.borrow().is_some());
        let first = Pulse { update: 11, steps_per_second: 1.0, episode_return: None, entropy: None };
        console.progress(&first);
        assert!(console.first.borrow().is_none());
    }

    #[test]
    fn the_bar_fits_the_terminal_and_knows_no_time_left_before_it_has_a_rate() {
        let pulse = Pulse {
            update: 70,
            steps_per_second: 61_234.0,
            episode_return: Some(213.4),
            entropy: Some(0.6123),
        };
        let text = |columns: usize| GOAL.bar_text(&pulse, columns - BAR_WIDTH - 1);
        assert_eq!(text(80), " 43%  4.38M/10.0M  1m 31s left  return 213  61.2k/s  entropy 0.612");
        assert_eq!(text(60), " 43%  4.38M/10.0M  1m 31s left  return 213  61.2k/s");
        assert_eq!(text(50), " 43%  4.38M/10.0M  1m 31s left  61.2k/s");
        let first = Pulse { update: 10, steps_per_second: 0.0, episode_return: None, entropy: None };
        assert_eq!(GOAL.bar_text(&first, 80), "  6%  625k/10.0M  return -  0/s");
    }
}
