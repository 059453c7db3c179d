//! `runs watch`: the curves of a run on the full screen, while another process trains it.
//!
//! It only reads the run's files, so it can be opened and closed at any time and costs the training nothing.

use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph};
use ratatui::{DefaultTerminal, Frame};

use crate::config::UsageError;
use crate::trainer::overview::Overview;
use crate::trainer::{History, thousands};

use super::{chart, duration, find, stop};

/// Which run to watch.
#[derive(Debug, Args)]
pub struct Watch {
    /// A run directory, the name of a run, or "latest"
    run: String,
    /// Metrics to draw [default: return, length, entropy, losses, approx_kl, clip_frac, steps_per_second]
    #[arg(long = "metric", value_name = "NAME")]
    metrics: Vec<String>,
}

impl Watch {
    pub fn run(&self, checkpoint_dir: &Path) -> Result<()> {
        let directory = find(&self.run, checkpoint_dir)?;
        ensure!(
            stdout().is_terminal(),
            UsageError("runs watch needs a terminal; `lockstep runs show` prints the same as text".into())
        );
        let screen = ratatui::try_init().context("cannot use the terminal");
        let watched = screen.and_then(|mut terminal| self.watch(&mut terminal, &directory));
        ratatui::restore();
        watched
    }

    fn watch(&self, terminal: &mut DefaultTerminal, directory: &Path) -> Result<()> {
        let mut notice = String::new();
        loop {
            let overview = Overview::of(directory)?;
            let history = History::read(directory)?;
            let mut metrics = chart::metrics(&self.metrics, std::slice::from_ref(&history))?;
            if self.metrics.is_empty() && !history.is_empty() {
                metrics.push("steps_per_second".into());
            }
            terminal.draw(|frame| draw(frame, &overview, &history, &metrics, &notice))?;
            match key()? {
                Some(KeyCode::Char('q') | KeyCode::Esc) => return Ok(()),
                Some(KeyCode::Char('s')) => notice = stop::ask(&overview)?,
                _ => {}
            }
        }
    }
}

/// The next key, or none within a second. Ctrl-C is `q`.
fn key() -> Result<Option<KeyCode>> {
    if !event::poll(Duration::from_secs(1))? {
        return Ok(None);
    }
    Ok(match event::read()? {
        Event::Key(key) if key.kind == KeyEventKind::Release => None,
        Event::Key(key)
            if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') =>
        {
            Some(KeyCode::Char('q'))
        }
        Event::Key(key) => Some(key.code),
        _ => None, // a new size: draw again
    })
}

fn draw(frame: &mut Frame, overview: &Overview, history: &History, metrics: &[String], notice: &str) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(header(overview).map(Line::from).to_vec()), head);
    let keys = if notice.is_empty() { "q quit   s stop the run cleanly" } else { notice };
    frame.render_widget(Paragraph::new(keys), foot);
    let columns = if body.width >= 100 { 2 } else { 1 };
    let rows = Layout::vertical(vec![Constraint::Fill(1); metrics.len().div_ceil(columns)]).split(body);
    for (metrics, row) in metrics.chunks(columns).zip(rows.iter()) {
        let cells = Layout::horizontal(vec![Constraint::Fill(1); columns]).split(*row);
        metrics.iter().zip(cells.iter()).for_each(|(metric, cell)| panel(frame, *cell, metric, history));
    }
}

/// Who, how far, how fast, how long.
fn header(overview: &Overview) -> [String; 2] {
    let status = &overview.status;
    let left = status.total_timesteps.saturating_sub(status.timesteps) as f64;
    let time_left = match overview.life.is_live() && status.steps_per_second > 0.0 {
        true => format!("{} left", duration(left / status.steps_per_second)),
        false => format!("{} ago", duration(overview.silence_seconds)),
    };
    let (done, total) = (thousands(status.timesteps), thousands(status.total_timesteps));
    [
        format!(
            "{}  {}  {}",
            overview.run,
            overview.life.as_str(),
            status.error.as_deref().unwrap_or_default()
        ),
        format!(
            "{done}/{total} timesteps ({:.1}%)  {} episodes  {} steps/s  {}  {time_left}",
            100.0 * overview.progress(),
            thousands(status.episodes),
            thousands(status.steps_per_second as u64),
            duration(overview.duration_seconds),
        ),
    ]
}

fn panel(frame: &mut Frame, area: Rect, metric: &str, history: &History) {
    let curve = history.curve(metric);
    let curves = [curve];
    let (x, y) = (chart::range(&curves, |p| p.0), chart::range(&curves, |p| p.1));
    let newest = curves[0].last().map_or(String::new(), |(_, value)| format!(" = {value:.4}"));
    let line = Dataset::default()
        .marker(Marker::Braille)
        .graph_type(GraphType::Line)
        .style(Style::new().fg(Color::Cyan))
        .data(&curves[0]);
    let labels = [format!("{:.4}", y.0), format!("{:.4}", y.1)];
    let plot = Chart::new(vec![line])
        .block(Block::bordered().title(format!(" {metric}{newest} ")))
        .x_axis(Axis::default().bounds([x.0, x.1]))
        .y_axis(Axis::default().bounds([y.0, y.1]).labels(labels));
    frame.render_widget(plot, area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::overview::Life;
    use crate::trainer::status::{State, Status, now};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::fs;

    #[test]
    fn the_screen_shows_progress_and_curves_at_any_size() {
        let dir = tempfile::tempdir().unwrap();
        let rows = "{\"timesteps\":10,\"entropy\":1.5}\n{\"timesteps\":20,\"entropy\":1.25}\n";
        fs::write(dir.path().join("metrics.jsonl"), rows).unwrap();
        let status = Status {
            state: State::Running,
            update: 2,
            num_updates: 8,
            timesteps: 20,
            total_timesteps: 80,
            episodes: 3,
            steps_per_second: 2.0,
            start_time: now(),
            last_heartbeat: now(),
            error: None,
        };
        status.write(dir.path()).unwrap();
        let overview = Overview { life: Life::Running, ..Overview::of(dir.path()).unwrap() };
        let history = History::read(dir.path()).unwrap();
        let metrics = ["entropy".to_string(), "steps_per_second".to_string(), "pg_loss".to_string()];
        for (width, height) in [(120, 40), (60, 20), (10, 3), (1, 1)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(frame, &overview, &history, &metrics, "")).unwrap();
            let text = terminal.backend().to_string();
            if width >= 60 {
                assert!(text.contains("20/80 timesteps (25.0%)") && text.contains("30s left"), "{text}");
                assert!(text.contains("entropy = 1.2500") && text.contains("s stop the run"), "{text}");
            }
        }
    }
}
