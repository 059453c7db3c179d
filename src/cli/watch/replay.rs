//! A replay in the terminal: what was recorded of an episode, forwards and backwards.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};
use serde_json::Value;

use super::control::{Control, Wish};
use super::plain::beside;
use crate::cli::player::Request;
use crate::cli::print;
use crate::cli::terminal::{Terminal, stop_flag};
use crate::envs::painter::Picture;
use crate::output::can_draw;
use crate::trainer::replay::{Drawing, Frame, is_replay, read};

/// Steps per second at speed 1.
const PACE: f64 = 5.0;

/// The replay that a request names, if it is one: by its path, or in the directory of runs.
pub fn named(request: &Request) -> Option<PathBuf> {
    let path = PathBuf::from(&request.params);
    let in_runs = request.place.checkpoint_dir.join(&path);
    let found = if path.exists() { path } else { in_runs };
    is_replay(&found).then_some(found)
}

/// Shows a replay.
///
/// # Errors
/// One line: the file is no replay, or the terminal cannot be used.
pub fn run(file: &Path, speed: f64) -> Result<()> {
    let replay = Replay { frames: read(file)?, at: 0 };
    if can_draw(&io::stdout()) { on_screen(replay, speed) } else { as_text(replay) }
}

/// A replay after so many of its steps.
struct Replay {
    frames: Vec<Frame>,
    at: usize,
}

impl Replay {
    fn is_over(&self) -> bool {
        self.at == self.frames.len()
    }

    /// The step that led here; none at the start.
    fn last(&self) -> Option<&Frame> {
        self.frames.get(self.at.checked_sub(1)?)
    }

    fn seek(&mut self, share: f64) {
        self.at = (share * self.frames.len() as f64) as usize;
    }

    fn env(&self) -> &str {
        self.frames[0].play.as_ref().and_then(|play| play.env.as_deref()).unwrap_or("replay")
    }

    /// The picture of this moment; where none was recorded, there is nothing to see but facts.
    fn picture(&self) -> Picture {
        let drawing = match self.last() {
            Some(frame) => frame.play.as_ref().map(|play| &play.after),
            None => self.frames[0].play.as_ref().and_then(|play| play.before.as_ref()),
        };
        drawing.unwrap_or(&Drawing::default()).picture()
    }

    fn return_so_far(&self) -> f64 {
        self.frames[..self.at].iter().fold(0.0, |sum, frame| sum + frame.reward)
    }

    fn action(frame: &Frame) -> String {
        frame.play.as_ref().map_or_else(|| frame.action.to_string(), |play| play.action.clone())
    }

    /// What happened, and the numbers that are shown of the state.
    fn told(&self) -> Vec<String> {
        let Some(frame) = self.last() else { return Vec::new() };
        let number = |(name, value): (&String, &Value)| match value {
            Value::Number(number) => Some(format!("{name:<22}{:>12.3}", number.as_f64().unwrap_or_default())),
            Value::String(text) => Some(format!("{name:<22}{text:>12}")),
            _ => None,
        };
        let events = (!frame.events.is_empty()).then(|| format!("events: {}", frame.events.join(", ")));
        events.into_iter().chain(frame.render_state.iter().filter_map(number)).collect()
    }

    fn end(&self) -> Option<&'static str> {
        let last = self.last().filter(|_| self.is_over())?;
        Some(match (last.terminated, last.truncated) {
            (true, _) => "terminated",
            (_, true) => "truncated",
            _ => "cut off",
        })
    }

    fn headline(&self) -> String {
        let mut text = format!("{}  step {}/{}", self.env(), self.at, self.frames.len());
        if let Some(frame) = self.last() {
            text +=
                &format!("  tick {}  action {}  reward {:.3}", frame.t, Self::action(frame), frame.reward);
        }
        text + &format!("  return {:.3}", self.return_so_far())
    }
}

fn as_text(mut replay: Replay) -> Result<()> {
    loop {
        let picture = replay.picture();
        let mut text = replay.headline() + "\n";
        for line in beside(&picture.board, &picture.facts) {
            text += line.trim_end();
            text.push('\n');
        }
        replay.told().iter().for_each(|line| text += &format!("{line}\n"));
        if let Some(end) = replay.end() {
            let (steps, total) = (replay.frames.len(), replay.return_so_far());
            text += &format!("{end} after {steps} steps, return {total:.3}\n");
        }
        print(&(text + "\n"))?;
        if replay.is_over() {
            return Ok(());
        }
        replay.at += 1;
    }
}

fn on_screen(mut replay: Replay, speed: f64) -> Result<()> {
    let stop = stop_flag()?;
    let mut screen = Terminal::open()?;
    let mut control = Control { paused: false, speed };
    let mut shown = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let picture = replay.picture();
        screen.draw(|frame| draw(frame, &replay, &picture, &control))?;
        let due = shown + Duration::from_secs_f64(1.0 / (PACE * control.speed));
        match control.wait(&screen, due)? {
            Some(Wish::Quit) => break,
            Some(Wish::Step) => replay.at = (replay.at + 1).min(replay.frames.len()),
            Some(Wish::Back) => replay.at = replay.at.saturating_sub(1),
            Some(Wish::Seek(share)) => replay.seek(share),
            None if !control.paused && !replay.is_over() && Instant::now() >= due => replay.at += 1,
            Some(Wish::Choose | Wish::Layers | Wish::Nothing) | None => continue,
        }
        shown = Instant::now();
    }
    Ok(())
}

fn draw(frame: &mut ratatui::Frame, replay: &Replay, picture: &Picture, control: &Control) {
    let [title, body, keys] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    let state = match (replay.end(), control.paused) {
        (Some(end), _) => format!(" {end} "),
        (None, true) => " paused ".to_owned(),
        (None, false) => format!(" x{:.2} ", control.speed),
    };
    let strong = Style::new().add_modifier(Modifier::BOLD);
    let headline = Span::styled(format!(" {}  ", replay.headline()), strong);
    frame.render_widget(
        Line::from(vec![headline, Span::styled(state, strong.add_modifier(Modifier::REVERSED))]),
        title,
    );
    let help = " space pause   n step   b back   0-9 seek   + - speed   q quit";
    frame.render_widget(Line::styled(help, Style::new().fg(Color::DarkGray)), keys);

    let board = [&picture.board[..], &picture.legend[..]].concat();
    let width = board.iter().map(Line::width).max().unwrap_or(0) as u16;
    let [left, right] = Layout::horizontal([Constraint::Length(width + 1), Constraint::Min(0)]).areas(body);
    frame.render_widget(Paragraph::new(board), left);
    let facts = picture.facts.len() as u16 + 2;
    let [above, below] = Layout::vertical([Constraint::Length(facts), Constraint::Min(0)]).areas(right);
    if !picture.facts.is_empty() {
        frame.render_widget(
            Paragraph::new(picture.facts.clone()).block(Block::bordered().title(" state ")),
            above,
        );
    }
    let told: Vec<Line> = replay.told().into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(told).block(Block::bordered().title(" step ")), below);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal as Screen;
    use ratatui::backend::TestBackend;
    use serde_json::{Map, json};

    use super::*;

    /// Two steps of a foreign file, without pictures.
    fn replay(at: usize) -> Replay {
        let frame = |index: u64| Frame {
            schema_version: 1,
            frame_index: index,
            t: 3 * (index + 1),
            dt: 3,
            action: 7,
            reward: -0.5,
            terminated: index == 1,
            truncated: false,
            render_state: Map::from_iter([
                ("credits".to_owned(), json!(12.5)),
                ("observation".to_owned(), json!([1])),
            ]),
            events: vec!["pirate_encounter".into()],
            info: None,
            play: None,
        };
        Replay { frames: vec![frame(0), frame(1)], at }
    }

    fn shown(replay: &Replay, width: u16, height: u16) -> String {
        let control = Control { paused: false, speed: 2.0 };
        let mut screen = Screen::new(TestBackend::new(width, height)).unwrap();
        screen.draw(|frame| draw(frame, replay, &replay.picture(), &control)).unwrap();
        let cells = screen.backend().buffer().content().chunks(width.into());
        cells.map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
    }

    #[test]
    fn a_file_without_pictures_is_told_in_numbers() {
        let text = shown(&replay(1), 90, 12);
        for part in [
            "replay  step 1/2  tick 3  action 7  reward -0.500  return -0.500",
            "x2.00",
            "12.500",
            "pirate_encounter",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        assert!(shown(&replay(2), 90, 12).contains(" terminated "));
        assert!(shown(&replay(0), 90, 12).contains("step 0/2"));
        for (width, height) in [(20, 5), (1, 1)] {
            shown(&replay(1), width, height);
        }
    }

    #[test]
    fn seeking_goes_to_a_share_of_the_whole() {
        let mut replay = replay(2);
        replay.seek(0.5);
        assert_eq!(replay.at, 1);
        replay.seek(0.0);
        assert_eq!(replay.at, 0);
    }
}
