//! The full screen: board, facts, rewards and the policy's choices, and the keys that control it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};

use super::control::{Control, Wish};
use super::session::{Paid, Scene, Session};
use crate::cli::terminal::{Terminal, bar, stop_flag};
use crate::envs::painter::{Painter, Picture};

/// How long the end of an episode stays, in seconds at speed 1.
const REST: f64 = 1.5;

/// Shows the session until all episodes are over and a key is pressed, or the user quits.
///
/// # Errors
/// A terminal that cannot be used, or whatever the device reports. The terminal is restored in any case.
pub fn run(session: &mut Session, painter: &dyn Painter, speed: f64) -> Result<()> {
    let stop = stop_flag()?;
    let mut screen = Terminal::open()?;
    let mut control = Control { paused: false, speed };
    let mut shown = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let scene = session.scene();
        let picture = painter.paint(&scene.moment.frame());
        screen.draw(|frame| draw(frame, scene, &picture, &control))?;
        let rest = if scene.end.is_some() { REST } else { 1.0 / painter.pace() };
        let pause = Duration::from_secs_f64(rest / control.speed);
        match control.wait(&screen, shown + pause)? {
            Some(Wish::Quit) => break,
            Some(Wish::Step) => {}
            Some(Wish::Back | Wish::Seek(_) | Wish::Nothing) => continue,
            None if control.paused || session.is_over() || shown.elapsed() < pause => continue,
            None => {}
        }
        session.advance()?;
        shown = Instant::now();
    }
    Ok(())
}

fn draw(frame: &mut Frame, scene: &Scene, picture: &Picture, control: &Control) {
    let [title, body, keys] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(headline(scene, control), title);
    frame.render_widget(key_line(), keys);

    let lines = [&picture.board[..], &picture.legend[..]].concat();
    let height = lines.len() as u16;
    let width = lines.iter().map(Line::width).max().unwrap_or(0) as u16;
    let [left, right] = Layout::horizontal([Constraint::Length(width + 1), Constraint::Min(0)]).areas(body);
    let [board, below] = Layout::vertical([Constraint::Length(height), Constraint::Min(0)]).areas(left);
    frame.render_widget(Paragraph::new(lines), board);

    // Where there is room below the board, the choices stand there and the rewards are shown in full.
    let rewards = scene.rewards();
    let [facts, mut paid, choices] =
        [picture.facts.len(), rewards.len() + 1, scene.spec.num_actions].map(|lines| lines as u16 + 2);
    let tall = below.height >= 6;
    if !tall {
        // Room for what has been paid so far, but not much of it.
        paid = rewards.iter().filter(|part| part.sum != 0.0).count().min(4) as u16 + 3;
    }
    let [facts_area, rewards_area, beside] =
        Layout::vertical([Constraint::Length(facts), Constraint::Length(paid), Constraint::Min(0)])
            .areas(right);
    let room = if tall { below } else { beside };
    let choices_area = Rect { height: choices.min(room.height), ..room };
    let state = Block::bordered().title(" state ");
    frame.render_widget(Paragraph::new(picture.facts.clone()).block(state), facts_area);
    draw_rewards(frame, &rewards, &scene.total(), rewards_area);
    draw_choices(frame, scene, choices_area);
}

fn headline(scene: &Scene, control: &Control) -> Line<'static> {
    let mut text = format!(
        " {}  episode {}/{}  step {}  return {:.3}  ",
        scene.spec.name,
        scene.episode + 1,
        scene.episodes,
        scene.steps,
        scene.episode_return
    );
    if let Some((action, _)) = &scene.last {
        text += &format!("last action {}  ", scene.description.action(*action));
    }
    let state = match (scene.end, control.paused) {
        (Some(end), _) => format!(" {end} "),
        (None, true) => " paused ".to_owned(),
        (None, false) => format!(" x{:.2} ", control.speed),
    };
    let strong = Style::new().add_modifier(Modifier::BOLD);
    Line::from(vec![Span::styled(text, strong), Span::styled(state, strong.add_modifier(Modifier::REVERSED))])
}

fn key_line() -> Line<'static> {
    Line::styled(" space pause   n step   + - speed   q quit", Style::new().fg(Color::DarkGray))
}

/// The parts of the reward, in the last step and over the episode, and their sum. A narrow area has the episode only;
/// where not all fit, those that have paid nothing yet are left out.
fn draw_rewards(frame: &mut Frame, parts: &[Paid], total: &Paid, area: Rect) {
    const NUMBER: usize = 9;
    let width = usize::from(area.width).saturating_sub(2);
    let wide = width >= 34;
    let title = if wide { " reward: step, episode " } else { " reward " };
    let block = Block::bordered().title(title);
    let room = usize::from(block.inner(area).height).saturating_sub(1);
    let name_width = width.saturating_sub(if wide { 2 * NUMBER } else { NUMBER } + 1).min(22);
    let line = |part: &Paid, style: Style| {
        let name: String = part.name.chars().take(name_width).collect();
        let sign = match part.last {
            last if last > 0.0 => style.fg(Color::LightGreen),
            last if last < 0.0 => style.fg(Color::LightRed),
            _ if part.sum == 0.0 => style.fg(Color::DarkGray),
            _ => style,
        };
        let mut spans = vec![Span::styled(format!("{name:<name_width$}"), sign)];
        if wide {
            let last = if part.last == 0.0 { String::new() } else { format!("{:+.2}", part.last) };
            spans.push(Span::styled(format!("{last:>NUMBER$}"), sign));
        }
        spans.push(Span::styled(format!("{:>NUMBER$.2}", part.sum), style));
        Line::from(spans)
    };
    let all_fit = parts.len() <= room;
    let shown = parts.iter().filter(|part| all_fit || part.sum != 0.0).take(room);
    let mut lines: Vec<Line> = shown.map(|part| line(part, Style::new())).collect();
    lines.push(line(total, Style::new().add_modifier(Modifier::BOLD)));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// The possible actions as bars, the most probable first.
fn draw_choices(frame: &mut Frame, scene: &Scene, area: Rect) {
    let title = match scene.moment.value {
        Some(value) => format!(" actions, value {value:.2} "),
        None => " actions ".to_owned(),
    };
    let block = Block::bordered().title(title);
    let inner = block.inner(area);
    let bar_width = usize::from(inner.width).saturating_sub(19).min(40);
    let line = |(action, p): (usize, f32)| {
        let next = scene.end.is_none() && action == scene.moment.action;
        let style = if next { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
        let (mark, color) = if next { ("▶", Color::LightGreen) } else { (" ", Color::Gray) };
        let name: String = scene.description.action(action).chars().take(8).collect();
        Line::from(vec![
            Span::styled(format!("{mark} {name:<9}"), style),
            Span::styled(bar(p, bar_width), Style::new().fg(color)),
            Span::styled(format!("{:>6.1}%", 100.0 * p), style),
        ])
    };
    let lines: Vec<Line> = scene.choices().into_iter().take(inner.height.into()).map(line).collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::algorithms::playback::{Moment, Outcome};
    use crate::cli::watch::session::End;
    use crate::envs::registry::find;

    /// A cart a little to the right whose pole leans to the left.
    fn scene() -> Scene {
        let entry = find("cartpole").unwrap();
        let spec = entry.build().spec();
        Scene {
            spec,
            description: entry.description(),
            episode: 1,
            episodes: 3,
            steps: 12,
            moment: Moment {
                state: Vec::new(),
                obs: vec![0.8, 0.0, -0.1, 0.25],
                mask: None,
                probs: vec![0.75, 0.25],
                value: Some(42.125),
                action_values: None,
                action: 0,
                to_move: 0,
            },
            last: Some((
                1,
                Outcome {
                    reward: 1.0,
                    other_rewards: vec![],
                    terminated: false,
                    truncated: false,
                    metrics: vec![],
                },
            )),
            episode_return: 12.0,
            totals: vec![],
            end: None,
        }
    }

    fn shown(scene: &Scene, control: &Control, width: u16, height: u16) -> String {
        let painter = find("cartpole").unwrap().painter();
        let picture = painter.paint(&scene.moment.frame());
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, scene, &picture, control)).unwrap();
        let cells = terminal.backend().buffer().content().chunks(width.into());
        let line = |cells: &[ratatui::buffer::Cell]| {
            cells.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()
        };
        cells.map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn everything_is_on_the_screen() {
        let text = shown(&scene(), &Control { paused: false, speed: 1.5 }, 100, 30);
        for part in [
            "cartpole  episode 2/3  step 12  return 12.000  last action right   x1.50",
            "[=====]",
            "theta_dot          0.2500",
            "reward",
            "+1.00    12.00",
            "actions, value 42.12",
            "▶ left     ██████████",
            " 75.0%",
            "right",
            "space pause   n step   + - speed   q quit",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        assert!(shown(&scene(), &Control { paused: true, speed: 1.0 }, 100, 30).contains(" paused"));
    }

    #[test]
    fn the_end_is_shown_and_small_screens_do_no_harm() {
        let over = Scene { end: Some(End::Truncated), ..scene() };
        let control = Control { paused: false, speed: 1.0 };
        let text = shown(&over, &control, 100, 30);
        assert!(text.contains("   truncated") && !text.contains('▶'), "{text}");
        for (width, height) in [(80, 24), (62, 14), (20, 5), (1, 1)] {
            shown(&over, &control, width, height);
        }
    }
}
