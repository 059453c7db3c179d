//! The full screen: board, facts, rewards and the policy's choices, and the keys that control it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};

use super::activations;
use super::control::{Control, Wish};
use super::session::{Paid, Scene, Session};
use crate::algorithms::policy::Choice;
use crate::cli::terminal::{Terminal, bar, stop_flag};
use crate::envs::painter::{Painter, Picture, arrow};

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
    let mut layer = None;
    while !stop.load(Ordering::Relaxed) {
        let scene = session.scene();
        let look = Look { painter, control: &control, layer, choice: session.choice() };
        screen.draw(|frame| draw(frame, scene, &look))?;
        let rest = if scene.end.is_some() { REST } else { 1.0 / painter.pace() };
        let pause = Duration::from_secs_f64(rest / control.speed);
        match control.wait(&screen, shown + pause)? {
            Some(Wish::Quit) => break,
            Some(Wish::Step) => {}
            Some(Wish::Choose) => {
                session.choose_otherwise();
                continue;
            }
            Some(Wish::Layers) => {
                layer = next_layer(layer, session.scene());
                continue;
            }
            Some(Wish::Back | Wish::Seek(_) | Wish::Nothing) => continue,
            None if control.paused || session.is_over() || shown.elapsed() < pause => continue,
            None => {}
        }
        session.advance()?;
        shown = Instant::now();
    }
    Ok(())
}

/// How a scene is shown.
struct Look<'a> {
    painter: &'a dyn Painter,
    control: &'a Control,
    /// The first layer that is shown instead of the board, if any is.
    layer: Option<usize>,
    choice: Choice,
}

/// The layer to show after `layer`; after the last one it is the board.
fn next_layer(layer: Option<usize>, scene: &Scene) -> Option<usize> {
    let layers = scene.moment.depth.as_ref().map_or(0, |depth| depth.layers.len());
    Some(layer.map_or(0, |layer| layer + 1)).filter(|&layer| layer < layers)
}

/// Columns that a board leaves to what stands beside it.
const BESIDE: u16 = 34;

fn draw(frame: &mut Frame, scene: &Scene, look: &Look) {
    let painter = look.painter;
    let [title, body, keys] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(headline(scene, look), title);
    frame.render_widget(key_line(), keys);

    let room = (body.width.saturating_sub(BESIDE), body.height);
    let picture = painter.paint_within(&scene.moment.frame(), room.0.into(), room.1.into());
    let layers = scene.moment.depth.as_ref().map(|depth| &depth.layers).zip(look.layer);
    if let Some((layers, first)) = layers {
        let [left, right] = Layout::horizontal([Constraint::Min(0), Constraint::Length(BESIDE)]).areas(body);
        activations::draw(frame, layers, first, painter, left);
        draw_beside(frame, scene, &picture, painter, right, Rect { height: 0, ..left });
        return;
    }
    let lines = [&picture.board[..], &picture.legend[..]].concat();
    let height = lines.len() as u16;
    let width = lines.iter().map(Line::width).max().unwrap_or(0) as u16;
    let [left, right] = Layout::horizontal([Constraint::Length(width + 1), Constraint::Min(0)]).areas(body);
    let [board, below] = Layout::vertical([Constraint::Length(height), Constraint::Min(0)]).areas(left);
    frame.render_widget(Paragraph::new(lines), board);
    draw_beside(frame, scene, &picture, painter, right, below);
}

/// What stands beside the board, and below it where there is room.
fn draw_beside(
    frame: &mut Frame,
    scene: &Scene,
    picture: &Picture,
    painter: &dyn Painter,
    right: Rect,
    below: Rect,
) {
    // Where there is room below the board, the choices stand there and the rewards are shown in full.
    let rewards = scene.rewards();
    let [facts, mut paid, choices] =
        [picture.facts.len(), rewards.len() + 1, scene.spec.num_actions].map(|lines| lines as u16 + 2);
    let tall = below.height >= 6;
    if !tall {
        // Room for what has been paid so far, but not much of it.
        paid = rewards.iter().filter(|part| part.sum != 0.0).count().min(4) as u16 + 3;
        paid = paid.min(right.height.saturating_sub(facts + choices).max(3));
    }
    let [facts_area, rewards_area, beside] =
        Layout::vertical([Constraint::Length(facts), Constraint::Length(paid), Constraint::Min(0)])
            .areas(right);
    let room = if tall { below } else { beside };
    let choices_area = Rect { height: choices.min(room.height), ..room };
    let state = Block::bordered().title(" state ");
    frame.render_widget(Paragraph::new(picture.facts.clone()).block(state), facts_area);
    draw_rewards(frame, &rewards, &scene.total(), rewards_area);
    draw_choices(frame, scene, painter, choices_area);
}

fn headline(scene: &Scene, look: &Look) -> Line<'static> {
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
    if scene.moment.depth.as_ref().is_some_and(|depth| !depth.layers.is_empty()) {
        text += match look.choice {
            Choice::Greedy => "greedy  ",
            Choice::Sample => "sampled  ",
        };
    }
    let control = look.control;
    let state = match (scene.end, control.paused) {
        (Some(end), _) => format!(" {end} "),
        (None, true) => " paused ".to_owned(),
        (None, false) => format!(" x{:.2} ", control.speed),
    };
    let strong = Style::new().add_modifier(Modifier::BOLD);
    Line::from(vec![Span::styled(text, strong), Span::styled(state, strong.add_modifier(Modifier::REVERSED))])
}

fn key_line() -> Line<'static> {
    Line::styled(
        " space pause   n step   + - speed   s sampled/greedy   a activations   q quit",
        Style::new().fg(Color::DarkGray),
    )
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

/// The possible actions as bars, the most probable first, or in their order where they are directions.
fn draw_choices(frame: &mut Frame, scene: &Scene, painter: &dyn Painter, area: Rect) {
    let title = match scene.moment.value {
        Some(value) => format!(" actions, value {value:.2} "),
        None => " actions ".to_owned(),
    };
    let block = Block::bordered().title(title);
    let inner = block.inner(area);
    let name_of = |action: usize| {
        let sign = painter.direction(action).map(|direction| format!("{} ", arrow(direction)));
        sign.unwrap_or_default() + scene.description.action(action)
    };
    let longest = scene.choices().iter().map(|(action, _)| name_of(*action).chars().count()).max();
    let names = longest.unwrap_or(0).min((usize::from(inner.width) / 2).saturating_sub(3)).max(8);
    let bar_width = usize::from(inner.width).saturating_sub(names + 11).min(40);
    let line = |(action, p): (usize, f32)| {
        let next = scene.end.is_none() && action == scene.moment.action;
        let style = if next { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
        let (mark, color) = if next { ("▶", Color::LightGreen) } else { (" ", Color::Gray) };
        let name: String = name_of(action).chars().take(names).collect();
        Line::from(vec![
            Span::styled(format!("{mark} {name:<names$} "), style),
            Span::styled(bar(p, bar_width), Style::new().fg(color)),
            Span::styled(format!("{:>6.1}%", 100.0 * p), style),
        ])
    };
    let mut choices = scene.choices();
    if choices.iter().all(|(action, _)| painter.direction(*action).is_some()) {
        choices.sort_by_key(|(action, _)| *action);
    }
    let lines: Vec<Line> = choices.into_iter().take(inner.height.into()).map(line).collect();
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
                depth: None,
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
        let look = Look { painter: &*painter, control, layer: None, choice: Choice::Greedy };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, scene, &look)).unwrap();
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
            "▶ ← left   ██████████",
            " 75.0%",
            "right",
            "space pause   n step   + - speed   s sampled/greedy   a activations   q quit",
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
