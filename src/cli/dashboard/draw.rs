//! Drawing a [`View`]: who, how far and how fast above; the curves; what was said and the keys below.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{self, Block, Chart, Dataset, Gauge, GraphType, Paragraph};

use super::layout::{self, Plan};
use super::{Help, View};
use crate::cli::chart;
use crate::trainer::history::{Axis, Curves};
use crate::trainer::overview::{Life, Overview};
use crate::trainer::readable::{duration, significant};
use crate::trainer::thousands;

pub(super) const HEAD: Style = Style::new().add_modifier(Modifier::BOLD);
pub(super) const DIM: Style = Style::new().fg(Color::DarkGray);
const CURVE: Style = Style::new().fg(Color::Cyan);
const WARNING: Style = Style::new().fg(Color::Yellow);
/// In a line: what the value takes, and what is left to the curve however long the names are.
const VALUE_WIDTH: usize = 9;
const LEAST_CURVE: usize = 6;
/// From this height on there are four lines of what was said instead of one.
const TALL: u16 = 36;
/// Below this height there is no room to say how busy the machine is.
const SHORT: u16 = 20;
const GIB: f64 = (1u64 << 30) as f64;

/// Draws it all.
pub fn draw(frame: &mut Frame, view: &View) {
    let height = frame.area().height;
    let said = if height >= TALL { 4 } else { 1 };
    let about_machine = if height >= SHORT { machine(view.overview) } else { Vec::new() };
    let head = 3 + about_machine.len() as u16;
    let rows =
        [Constraint::Length(head), Constraint::Min(0), Constraint::Length(said), Constraint::Length(1)];
    let [head, body, said, foot] = Layout::vertical(rows).areas(frame.area());
    header(frame, head, view.overview, about_machine);
    let asked = !view.asked.is_empty();
    let names = if asked { view.asked.to_vec() } else { layout::in_order(view.curves) };
    let plan = layout::plan(&names, asked, body.width, body.height);
    if names.is_empty() {
        frame.render_widget(Paragraph::new("the first update is not done yet").style(DIM), body);
    } else {
        curves(frame, body, &plan, view.curves);
    }
    newest_lines(frame, said, view.lines);
    frame.render_widget(footer(view.keys, view.notice, plan.missing), foot);
}

/// Draws what goes on before there is a run.
pub fn draw_stage(frame: &mut Frame, what: &str, lines: &[String], keys: &[Help], notice: &str) {
    let rows = [Constraint::Length(3), Constraint::Min(0), Constraint::Length(1)];
    let [head, body, foot] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(Line::styled(what.to_owned(), HEAD), head);
    newest_lines(frame, body, lines);
    frame.render_widget(footer(keys, notice, 0), foot);
}

pub(super) fn newest_lines(frame: &mut Frame, area: Rect, lines: &[String]) {
    let newest = lines[lines.len().saturating_sub(usize::from(area.height))..].iter();
    frame.render_widget(Paragraph::new(newest.map(|line| spoken(line)).collect::<Vec<_>>()), area);
}

fn header(frame: &mut Frame, area: Rect, overview: &Overview, about_machine: Vec<String>) {
    let rows = [Constraint::Length(1), Constraint::Length(1), Constraint::Length(1), Constraint::Min(0)];
    let [who, how_far, how_fast, how_busy] = Layout::vertical(rows).areas(area);
    let status = &overview.status;
    let color = match overview.life {
        Life::Running | Life::Completed => Color::Green,
        Life::Stale | Life::Stopped => Color::Yellow,
        Life::Dead | Life::Failed => Color::Red,
    };
    let state = Span::styled(overview.life.as_str(), Style::new().fg(color));
    let error = status.error.as_deref().unwrap_or_default();
    let name = Span::styled(overview.run.as_str(), HEAD);
    frame.render_widget(Line::from(vec![name, "  ".into(), state, "  ".into(), error.into()]), who);
    let (done, total) = (thousands(status.timesteps), thousands(status.total_timesteps));
    let percent = 100.0 * overview.progress();
    let gauge = Gauge::default()
        .ratio(overview.progress().clamp(0.0, 1.0))
        .label(format!("{done} of {total} timesteps  {percent:.1}%"))
        .gauge_style(Style::new().fg(Color::Blue).bg(Color::Black));
    frame.render_widget(gauge, how_far);
    frame.render_widget(facts(overview).join("  ·  "), how_fast);
    let lines: Vec<Line> = about_machine.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines).style(DIM), how_busy);
}

/// How busy the machine of a run is, and where the run's time goes: a line of each, as far as the run says it.
fn machine(overview: &Overview) -> Vec<String> {
    let status = &overview.status;
    let mut lines = Vec::new();
    if let (Some(machine), true) = (&status.machine, overview.life.is_live()) {
        let percent = |name: &str, value: Option<f64>| value.map(|value| format!("{name} {value:.0}%"));
        let mut parts: Vec<String> = [
            percent("cpu", machine.cpu_percent),
            percent("this process", machine.process_percent),
            percent("memory", machine.memory_percent),
        ]
        .into_iter()
        .flatten()
        .collect();
        for (index, gpu) in machine.gpus.iter().enumerate() {
            let load = gpu.load_percent.map_or(String::new(), |load| format!(" {load:.0}%"));
            let [used, total] = [gpu.memory_used, gpu.memory_total].map(|bytes| (bytes as f64 / GIB).round());
            parts.push(format!("gpu {index}{load} {used} of {total} GiB"));
        }
        lines.push(parts.join("  ·  "));
    }
    if let Some(phases) = status.phases {
        let parts = phases.shares().map(|(name, share)| format!("{name} {share:.0}%"));
        lines.push(format!("time: {}", parts.join("  ·  ")));
    }
    lines
}

/// The most important first, for the line may be cut off.
fn facts(overview: &Overview) -> Vec<String> {
    let status = &overview.status;
    let left = status.total_timesteps.saturating_sub(status.timesteps) as f64;
    let mut facts = vec![format!("{} steps/s", thousands(status.steps_per_second as u64))];
    if !overview.life.is_live() {
        facts.push(format!("{} ago", duration(overview.silence_seconds)));
    } else if status.steps_per_second > 0.0 {
        facts.push(format!("{} left", duration(left / status.steps_per_second)));
    }
    facts.push(format!("{} elapsed", duration(overview.duration_seconds)));
    facts.extend(status.memory_bytes.map(|bytes| format!("{} MiB", thousands(bytes >> 20))));
    let on_device = |bytes| format!("{} MiB on the device", thousands(bytes >> 20));
    facts.extend(status.device_memory_bytes.map(on_device));
    facts.push(format!("{} episodes", thousands(status.episodes)));
    facts.push(format!("update {} of {}", thousands(status.update), thousands(status.num_updates)));
    facts
}

fn curves(frame: &mut Frame, area: Rect, plan: &Plan, history: &Curves) {
    let [upper, lower] =
        Layout::vertical([Constraint::Length(plan.chart_rows), Constraint::Min(0)]).areas(area);
    let rows = plan.charts.chunks(plan.chart_columns);
    let areas = Layout::vertical(vec![Constraint::Fill(1); rows.len()]).split(upper);
    for (names, row) in rows.zip(areas.iter()) {
        let cells = Layout::horizontal(vec![Constraint::Fill(1); plan.chart_columns]).split(*row);
        names.iter().zip(cells.iter()).for_each(|(name, cell)| panel(frame, *cell, name, history));
    }
    let columns = Layout::horizontal(vec![Constraint::Fill(1); plan.line_columns]).spacing(2).split(lower);
    let longest_name = plan.lines.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let per_column = plan.lines.len().div_ceil(plan.line_columns).max(1);
    for (names, column) in plan.lines.chunks(per_column).zip(columns.iter()) {
        let lines: Vec<Line> =
            names.iter().map(|name| small(name, longest_name, history, column.width.into())).collect();
        frame.render_widget(Paragraph::new(lines), *column);
    }
}

/// A metric as a chart.
fn panel(frame: &mut Frame, area: Rect, metric: &str, history: &Curves) {
    let curves = [history.curve(metric, Axis::Timesteps)];
    let (x, y) = (chart::range(&curves, |p| p.0), chart::range(&curves, |p| p.1));
    let title = match curves[0].last() {
        Some((_, value)) => format!(" {metric}  {} ", number(*value)),
        None => format!(" {metric} "),
    };
    let line =
        Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).style(CURVE).data(&curves[0]);
    let plot = Chart::new(vec![line])
        .block(Block::bordered().border_style(DIM).title(Span::styled(title, HEAD)))
        .x_axis(widgets::Axis::default().bounds([x.0, x.1]))
        .y_axis(widgets::Axis::default().bounds([y.0, y.1]).style(DIM).labels([number(y.0), number(y.1)]));
    frame.render_widget(plot, area);
}

/// A metric in one line of `width` characters: name, newest value, curve.
fn small(metric: &str, longest_name: usize, history: &Curves, width: usize) -> Line<'static> {
    let name_width = longest_name.min(width.saturating_sub(VALUE_WIDTH + LEAST_CURVE + 2)).max(1);
    let curve = history.curve(metric, Axis::Timesteps);
    let value = curve.last().map_or(String::new(), |(_, value)| number(*value));
    let name: String = match metric.chars().count() {
        length if length > name_width => metric.chars().take(name_width - 1).chain(['…']).collect(),
        _ => metric.into(),
    };
    let room = width.saturating_sub(name_width + VALUE_WIDTH + 2);
    let curves = [curve];
    let (x, y) = (chart::range(&curves, |p| p.0), chart::range(&curves, |p| p.1));
    let drawn = if room > 0 { chart::draw(&curves[0], x, y, room, 1).remove(0) } else { String::new() };
    Line::from(vec![
        format!("{name:<name_width$} ").into(),
        Span::styled(format!("{value:>VALUE_WIDTH$} "), HEAD),
        Span::styled(drawn, CURVE),
    ])
}

/// Four significant digits, in at most nine characters.
pub(super) fn number(value: f64) -> String {
    significant(value, 4)
}

fn spoken(line: &str) -> Line<'_> {
    let style = if line.starts_with("warning:") { WARNING } else { Style::new() };
    Line::styled(line, style)
}

pub(super) fn footer<'a>(keys: &[Help], notice: &'a str, missing: usize) -> Line<'a> {
    let mut spans: Vec<Span> = Vec::new();
    for (key, what) in keys {
        spans.push(Span::styled(*key, HEAD));
        spans.push(format!(" {what}   ").into());
    }
    if !notice.is_empty() {
        spans.push(Span::styled(notice, WARNING));
    } else if missing > 0 {
        spans.push(Span::styled(format!("{missing} more metrics in a larger window"), DIM));
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::status::{Machine, Phases, State, Status, now};
    use crate::trainer::utilisation::Gpu;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::fs;

    #[test]
    fn the_screen_shows_progress_curves_lines_and_keys_at_any_size() {
        let dir = tempfile::tempdir().unwrap();
        let rows = "{\"timesteps\":10,\"train/entropy\":1.5,\"reward/kill\":0.25}\n\
                    {\"timesteps\":20,\"train/entropy\":1.25,\"reward/kill\":0.5}\n";
        fs::write(dir.path().join("metrics.jsonl"), rows).unwrap();
        let status = Status {
            told: None,
            epsilon: None,
            state: State::Running,
            update: 2,
            num_updates: 8,
            timesteps: 20,
            total_timesteps: 80,
            episodes: 3,
            mean_return: None,
            steps_per_second: 2.0,
            start_time: now(),
            last_heartbeat: now(),
            memory_bytes: Some(300 << 20),
            device_memory_bytes: Some(40 << 20),
            machine: Some(Machine {
                cpu_percent: Some(93.4),
                process_percent: Some(187.0),
                memory_percent: Some(34.2),
                gpus: vec![Gpu { load_percent: Some(98.0), memory_used: 12 << 30, memory_total: 140 << 30 }],
            }),
            phases: Some(Phases { train: 93.0, evaluate: 4.0, save: 1.0, log: 0.5, other: 1.5 }),
            error: None,
        };
        status.write(dir.path()).unwrap();
        let overview = Overview { life: Life::Running, ..Overview::of(dir.path()).unwrap() };
        let curves = Curves::read(dir.path()).unwrap();
        let lines = ["one".to_string(), "warning: two".into()];
        let keys = [("q", "close this view"), ("s", "save now")];
        for (width, height) in [(120, 40), (80, 24), (10, 3), (1, 1)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            for asked in [&[][..], &["train/entropy".to_string(), "train/pg_loss".into()]] {
                let view = View {
                    overview: &overview,
                    curves: &curves,
                    asked,
                    lines: &lines,
                    keys: &keys,
                    notice: "",
                };
                terminal.draw(|frame| draw(frame, &view)).unwrap();
                let text = terminal.backend().to_string();
                let parts = [
                    "20 of 80 timesteps  25.0%",
                    "2 steps/s  ·  30s left",
                    "300 MiB  ·  40 MiB on the device",
                    "cpu 93%  ·  this process 187%  ·  memory 34%  ·  gpu 0 98% 12 of 140 GiB",
                    "time: train 93%  ·  evaluate 4%  ·  save 1%  ·  log 0%  ·  other 2%",
                    "train/entropy  1.250",
                    if asked.is_empty() { "reward/kill    0.5000" } else { "train/pg_loss" },
                    "warning: two",
                    "q close this view   s save now",
                ];
                for part in parts.into_iter().filter(|_| width >= 80) {
                    assert!(text.contains(part), "no {part:?} in\n{text}");
                }
            }
        }
    }
}
