//! Several runs on one screen: a page for each topic, with a curve or bars for each run.

use std::collections::BTreeMap;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{self, Block, Chart, Dataset, Gauge, GraphType, Paragraph};

use super::draw::{DIM, HEAD, footer, newest_lines, number};
use super::{Followed, Help};
use crate::cli::chart::{self, Curve};
use crate::cli::terminal::bar;
use crate::trainer::history::{Axis, Curves};
use crate::trainer::overview::Life;
use crate::trainer::readable::duration;
use crate::trainer::thousands;

/// What is on the screen.
pub struct View<'a> {
    pub runs: &'a [Followed],
    pub page: usize,
    /// How the metrics of actions are called, where that is not their name.
    pub actions: &'a BTreeMap<String, String>,
    pub lines: &'a [String],
    pub keys: &'a [Help],
    pub notice: &'a str,
}

/// The topics, in their order.
pub const PAGES: [&str; 6] = ["reward", "losses", "entropy", "explained variance", "behaviour", "actions"];
const ACTIONS: usize = 5;

const COLORS: [Color; 8] = [
    Color::Cyan,
    Color::Yellow,
    Color::Magenta,
    Color::Green,
    Color::LightRed,
    Color::LightBlue,
    Color::White,
    Color::LightGreen,
];
/// The least size of a chart.
const CHART_WIDTH: u16 = 36;
const CHART_HEIGHT: u16 = 8;
/// The share at which a bar is full, if no action has more.
const FULL: f64 = 0.3;

/// Draws it all.
pub fn draw(frame: &mut Frame, view: &View) {
    let rows = [1, 1, 1, 1].map(Constraint::Length);
    let rows = [&rows[..], &[Constraint::Min(0), Constraint::Length(1), Constraint::Length(1)]].concat();
    let areas = Layout::vertical(rows).split(frame.area());
    let [who, how_far, how_fast, tabs, body, said, foot] = areas[..] else { return };
    let curves: Vec<&Curves> = view.runs.iter().map(Followed::curves).collect();
    let metrics = metrics(view.page, &curves);
    frame.render_widget(legend(view.runs, metrics.first(), who.width.into()), who);
    gauge(frame, how_far, view.runs);
    frame.render_widget(facts(view.runs), how_fast);
    frame.render_widget(tab_line(view.page), tabs);
    if metrics.is_empty() {
        let text = format!("nothing is known of {} yet", PAGES[view.page]);
        frame.render_widget(Paragraph::new(text).style(DIM), body);
    } else if view.page == ACTIONS {
        actions(frame, body, view, &metrics);
    } else {
        charts(frame, body, &curves, &metrics, view.page != 2);
    }
    newest_lines(frame, said, view.lines);
    frame.render_widget(footer(view.keys, view.notice, 0), foot);
}

/// The metrics of a page, those that any of the runs has.
fn metrics(page: usize, curves: &[&Curves]) -> Vec<String> {
    let mut names: Vec<&str> = curves.iter().flat_map(|curves| curves.names()).collect();
    names.sort_unstable();
    names.dedup();
    let of = |known: &[&str]| -> Vec<String> {
        known.iter().filter(|name| names.contains(name)).map(|name| (*name).to_owned()).collect()
    };
    match page {
        0 => of(&["train/mean_episode_return"]),
        1 => of(&["train/pg_loss", "train/vf_loss", "train/td_loss", "train/loss"]),
        2 => of(&["train/entropy"]),
        3 => of(&["train/explained_variance"]),
        ACTIONS => {
            names.iter().filter(|name| name.starts_with("actions/")).map(|name| (*name).to_owned()).collect()
        }
        _ => {
            // The shortest names are the plainest, and there may be more than there is room for.
            let mut own: Vec<&str> =
                names.iter().copied().filter(|name| name.starts_with("stats/")).collect();
            own.sort_by_key(|name| name.len());
            own.into_iter().map(str::to_owned).collect()
        }
    }
}

fn color(run: usize) -> Color {
    COLORS[run % COLORS.len()]
}

/// The runs in their colours, each with how it is, and with the newest value of a metric if there is room for all of them.
fn legend(runs: &[Followed], metric: Option<&String>, width: usize) -> Line<'static> {
    let whole = legend_with(runs, metric);
    if whole.width() <= width { whole } else { legend_with(runs, None) }
}

fn legend_with(runs: &[Followed], metric: Option<&String>) -> Line<'static> {
    let names: Vec<&str> = runs.iter().map(|followed| followed.overview().run.as_str()).collect();
    let mut spans = Vec::new();
    for (number_of_run, (name, followed)) in short_names(&names).into_iter().zip(runs).enumerate() {
        let last = metric.and_then(|metric| followed.curves().curve(metric, Axis::Update).last().copied());
        let value = last.map_or(String::new(), |(_, value)| format!(" {}", number(value)));
        let state = match followed.overview().life {
            Life::Running => String::new(),
            life => format!(" {}", life.as_str()),
        };
        spans.push(Span::styled(format!("■ {name}"), Style::new().fg(color(number_of_run))));
        spans.push(Span::styled(value, HEAD));
        spans.push(Span::styled(format!("{state}  "), DIM));
    }
    Line::from(spans)
}

/// Names without the parts at the end that all of them have, or else without those at the beginning.
fn short_names(names: &[&str]) -> Vec<String> {
    let parts = |name: &&str| name.split_inclusive(['_', '-']).map(str::to_owned).collect::<Vec<_>>();
    let mut all: Vec<Vec<String>> = names.iter().map(parts).collect();
    let whole = || names.iter().map(|name| (*name).to_owned()).collect();
    if all.len() < 2 {
        return whole();
    }
    let before = all[0].len();
    while all.iter().all(|parts| parts.len() > 1 && parts.last() == all[0].last()) {
        all.iter_mut().for_each(|parts| drop(parts.pop()));
    }
    if all[0].len() == before {
        while all.iter().all(|parts| parts.len() > 1 && parts.first() == all[0].first()) {
            all.iter_mut().for_each(|parts| drop(parts.remove(0)));
        }
    }
    all.iter().map(|parts| parts.concat().trim_end_matches(['_', '-']).to_owned()).collect()
}

fn gauge(frame: &mut Frame, area: Rect, runs: &[Followed]) {
    let sum = |of: fn(&Followed) -> u64| runs.iter().map(of).sum::<u64>();
    let done = sum(|run| run.overview().status.timesteps);
    let total = sum(|run| run.overview().status.total_timesteps).max(1);
    let share = done as f64 / total as f64;
    let label = format!("{} of {} timesteps  {:.1}%", thousands(done), thousands(total), 100.0 * share);
    let style = Style::new().fg(Color::Blue).bg(Color::Black);
    frame.render_widget(Gauge::default().ratio(share.clamp(0.0, 1.0)).label(label).gauge_style(style), area);
}

fn facts(runs: &[Followed]) -> Line<'static> {
    let live: Vec<&Followed> = runs.iter().filter(|run| run.overview().life.is_live()).collect();
    let rate: f64 = live.iter().map(|run| run.overview().status.steps_per_second).sum();
    let status = || runs.iter().map(|run| &run.overview().status);
    let left: u64 = status().map(|status| status.total_timesteps.saturating_sub(status.timesteps)).sum();
    let mut facts = vec![format!("{} steps/s", thousands(rate as u64))];
    if rate > 0.0 {
        facts.push(format!("{} left", duration(left as f64 / rate)));
    }
    let longest = runs.iter().map(|run| run.overview().duration_seconds).fold(0.0, f64::max);
    facts.push(format!("{} elapsed", duration(longest)));
    facts.push(format!("{} episodes", thousands(status().map(|status| status.episodes).sum())));
    let updates = status().map(|status| status.update).max().unwrap_or(0);
    let all = status().map(|status| status.num_updates).max().unwrap_or(0);
    facts.push(format!("update {} of {}", thousands(updates), thousands(all)));
    Line::from(facts.join("  ·  "))
}

fn tab_line(page: usize) -> Line<'static> {
    let tab = |(number, title): (usize, &&'static str)| {
        let style = if number == page { HEAD.add_modifier(Modifier::REVERSED) } else { DIM };
        Span::styled(format!(" {} {title} ", number + 1), style)
    };
    Line::from(PAGES.iter().enumerate().map(tab).collect::<Vec<_>>())
}

/// A chart for each metric, as many as there is room for, with a curve for each run.
fn charts(frame: &mut Frame, area: Rect, runs: &[&Curves], metrics: &[String], is_smooth: bool) {
    let columns = usize::from(area.width / CHART_WIDTH).clamp(1, metrics.len());
    let rows = usize::from(area.height / CHART_HEIGHT).clamp(1, metrics.len().div_ceil(columns));
    let rows_of = Layout::vertical(vec![Constraint::Fill(1); rows]).split(area);
    for (metrics, row) in metrics.chunks(columns).zip(rows_of.iter()) {
        let cells = Layout::horizontal(vec![Constraint::Fill(1); columns]).split(*row);
        for (metric, cell) in metrics.iter().zip(cells.iter()) {
            let curve = |run: &&Curves| {
                let curve = run.curve(metric, Axis::Update);
                if is_smooth { smoothed(curve) } else { curve }
            };
            panel(frame, *cell, metric, &runs.iter().map(curve).collect::<Vec<_>>());
        }
    }
}

/// The exponential moving average in which a point counts a tenth.
fn smoothed(curve: Curve) -> Curve {
    let step = |mean: &mut Option<f64>, (x, y): (f64, f64)| {
        let next = mean.map_or(y, |mean| 0.9 * mean + 0.1 * y);
        *mean = Some(next);
        Some((x, next))
    };
    curve.into_iter().scan(None, step).collect()
}

fn panel(frame: &mut Frame, area: Rect, metric: &str, curves: &[Curve]) {
    let (x, y) = (chart::range(curves, |p| p.0), chart::range(curves, |p| p.1));
    let line = |(run, curve): (usize, &'_ Curve)| {
        let style = Style::new().fg(color(run));
        (style, curve.clone())
    };
    let owned: Vec<(Style, Curve)> = curves.iter().enumerate().map(line).collect();
    let lines = owned.iter().map(|(style, curve)| {
        Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).style(*style).data(curve)
    });
    let plot = Chart::new(lines.collect())
        .block(Block::bordered().border_style(DIM).title(Span::styled(format!(" {metric} "), HEAD)))
        .x_axis(widgets::Axis::default().bounds([x.0, x.1]))
        .y_axis(widgets::Axis::default().bounds([y.0, y.1]).style(DIM).labels([number(y.0), number(y.1)]));
    frame.render_widget(plot, area);
}

/// How often each action was taken in the newest update: a line for each action, a bar for each run.
fn actions(frame: &mut Frame, area: Rect, view: &View, metrics: &[String]) {
    let last = |run: &Followed, metric: &String| {
        run.curves().curve(metric, Axis::Update).last().map_or(0.0, |(_, share)| *share)
    };
    let shares: Vec<Vec<f64>> =
        metrics.iter().map(|metric| view.runs.iter().map(|run| last(run, metric)).collect()).collect();
    let full = shares.iter().flatten().copied().fold(FULL, f64::max);
    let label = |metric: &String| match view.actions.get(metric) {
        Some(label) => label.clone(),
        None => metric.trim_start_matches("actions/").trim_end_matches("_frac").to_owned(),
    };
    let labels: Vec<String> = metrics.iter().map(label).collect();
    let names = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0).min(16);
    let room = usize::from(area.width).saturating_sub(names + 1) / view.runs.len().max(1);
    let width = room.saturating_sub(8);
    let line = |(label, shares): (&String, &Vec<f64>)| {
        let label: String = label.chars().take(names).collect();
        let mut spans = vec![Span::raw(format!("{label:<names$} "))];
        for (run, share) in shares.iter().enumerate() {
            spans.push(Span::styled(bar((share / full) as f32, width), Style::new().fg(color(run))));
            spans.push(Span::raw(format!("{:>5.1}%  ", 100.0 * share)));
        }
        Line::from(spans)
    };
    let lines: Vec<Line> = labels.iter().zip(&shares).map(line).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::trainer::status::{State, Status, now};

    fn run(directory: &std::path::Path, up: f64) -> Followed {
        fs::create_dir(directory).unwrap();
        let row = |i: u32| {
            let x = f64::from(i) * up;
            format!(
                "{{\"update\":{i},\"timesteps\":{},\"train/mean_episode_return\":{x},\"train/entropy\":{x},\"train/pg_loss\":{x},\
                 \"train/vf_loss\":{x},\"train/explained_variance\":0.5,\"stats/eaten\":{x},\"actions/left_frac\":0.25,\
                 \"actions/up_frac\":0.75}}\n",
                10 * i
            )
        };
        fs::write(directory.join("metrics.jsonl"), (1..=3).map(row).collect::<String>()).unwrap();
        let status = Status {
            told: None,
            epsilon: None,
            state: State::Running,
            update: 3,
            num_updates: 8,
            timesteps: 30,
            total_timesteps: 80,
            episodes: 3,
            mean_return: None,
            steps_per_second: 2.0,
            start_time: now(),
            last_heartbeat: now(),
            memory_bytes: None,
            device_memory_bytes: None,
            machine: None,
            phases: None,
            error: None,
        };
        status.write(directory).unwrap();
        Followed::new(directory).unwrap()
    }

    #[test]
    fn every_page_shows_every_run_at_any_size() {
        let dir = tempfile::tempdir().unwrap();
        let runs = ["proxy_20260105_101500", "proxy_mortal_20260105_101500"]
            .map(|name| run(&dir.path().join(name), 1.5));
        let actions = BTreeMap::from([("actions/left_frac".to_owned(), "← left".to_owned())]);
        let keys = [("x", "stop all")];
        let contents = [
            "train/mean_episode_return",
            "train/vf_loss",
            "train/entropy",
            "train/explained_variance",
            "stats/eaten",
            "← left",
        ];
        for (width, height) in [(120, 40), (80, 24), (20, 6), (1, 1)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            for (page, content) in contents.iter().enumerate() {
                let view = View { runs: &runs, page, actions: &actions, lines: &[], keys: &keys, notice: "" };
                terminal.draw(|frame| draw(frame, &view)).unwrap();
                let text = terminal.backend().to_string();
                let title = format!(" {} {} ", page + 1, PAGES[page]);
                let parts = [
                    content,
                    "■ proxy ",
                    "■ proxy_mortal ",
                    "60 of 160 timesteps",
                    "x stop all",
                    title.as_str(),
                ];
                for part in parts.into_iter().filter(|_| width >= 80) {
                    assert!(text.contains(part), "no {part:?} in\n{text}");
                }
            }
        }
    }

    #[test]
    fn names_are_short_where_they_differ() {
        assert_eq!(short_names(&["ground_truth_2026_10", "proxy_2026_10"]), ["ground_truth", "proxy"]);
        assert_eq!(short_names(&["maze-jan-s0", "maze-jan-s1"]), ["s0", "s1"]);
        assert_eq!(short_names(&["alone_2026"]), ["alone_2026"]);
        assert_eq!(short_names(&["a", "b"]), ["a", "b"]);
    }

    #[test]
    fn a_point_counts_a_tenth_in_the_average() {
        let curve = vec![(0.0, 1.0), (1.0, 2.0), (2.0, 2.0)];
        let ys: Vec<f64> = smoothed(curve).into_iter().map(|(_, y)| (1000.0 * y).round()).collect();
        assert_eq!(ys, [1000.0, 1100.0, 1190.0]);
    }
}
