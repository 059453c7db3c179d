//! The game on the full screen, and the keys that play it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph};

use super::game::{Game, Thought};
use crate::cli::terminal::{Key, Terminal, bar, stop_flag};
use crate::envs::painter::{Painter, Picture};

/// Longest time between two looks at the signals.
const TICK: Duration = Duration::from_millis(100);

/// What the person looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct View {
    /// The action that enter plays.
    chosen: usize,
    /// Whether the agent's thoughts are shown.
    thoughts: bool,
}

/// What a key asks for.
#[derive(Debug, PartialEq)]
enum Wish {
    Play,
    Undo,
    New,
    Quit,
    Nothing,
}

/// Plays until the person leaves.
///
/// # Errors
/// A terminal that cannot be used, or whatever the device reports. The terminal is restored in any case.
pub fn run(game: &mut Game, painter: &dyn Painter) -> Result<()> {
    let stop = stop_flag()?;
    let screen = &mut Terminal::open()?;
    let mut view = View { chosen: game.num_actions() / 2, thoughts: false };
    while !stop.load(Ordering::Relaxed) {
        while !game.is_over() && !game.is_persons_turn() {
            game.answer()?;
        }
        let picture = painter.paint(&game.moment().frame());
        screen.draw(|frame| draw(frame, &Shown::of(game, view, painter), &picture))?;
        let Some(key) = screen.key(TICK)? else { continue };
        match view.press(key, game.num_actions()) {
            Wish::Play if game.is_persons_turn() && game.is_valid(view.chosen) => game.play(view.chosen)?,
            Wish::Undo => {
                game.undo()?;
            }
            Wish::New => game.new_game()?,
            Wish::Quit => break,
            Wish::Play | Wish::Nothing => {}
        }
    }
    Ok(())
}

impl View {
    fn press(&mut self, key: Key, actions: usize) -> Wish {
        match key {
            Key::Left | Key::Up => self.chosen = (self.chosen + actions - 1) % actions,
            Key::Right | Key::Down => self.chosen = (self.chosen + 1) % actions,
            Key::Char('v') => self.thoughts = !self.thoughts,
            Key::Enter | Key::Char(' ') => return Wish::Play,
            Key::Char('u') => return Wish::Undo,
            Key::Char('n') => return Wish::New,
            Key::Char('q') | Key::Escape | Key::Interrupt => return Wish::Quit,
            _ => {}
        }
        Wish::Nothing
    }
}

/// What there is to see beside the picture.
struct Shown {
    title: String,
    /// The action that enter plays, its name, and the column of the picture that it is.
    chosen: String,
    column: Option<u16>,
    is_over: bool,
    /// What the agent thinks, if that is to be seen, and what it expects of the game.
    thoughts: Option<(Vec<Thought>, Option<f32>)>,
    selected: usize,
}

impl Shown {
    fn of(game: &Game, view: View, painter: &dyn Painter) -> Shown {
        let last = game.agents_last().map(|action| format!(", which played {}", game.name(action)));
        let last = last.unwrap_or_default();
        let title = match game.result() {
            Some(result) => format!(" {result}"),
            None => format!(" you against {}{last}", game.agent()),
        };
        let valid = if game.is_valid(view.chosen) { "" } else { " (not possible)" };
        Shown {
            title,
            chosen: format!("{}{valid}", game.name(view.chosen)),
            column: painter.column_of(view.chosen),
            is_over: game.is_over(),
            thoughts: view.thoughts.then(|| (game.thoughts(), game.moment().value)),
            selected: view.chosen,
        }
    }
}

fn draw(frame: &mut Frame, shown: &Shown, picture: &Picture) {
    let areas = Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]);
    let [title, body, keys] = areas.areas(frame.area());
    let strong = Style::new().add_modifier(Modifier::BOLD);
    let headline = if shown.is_over { strong.add_modifier(Modifier::REVERSED) } else { strong };
    frame.render_widget(Line::styled(shown.title.clone(), headline), title);
    let help = " arrows choose   enter play   v values   u undo   n new game   q quit";
    frame.render_widget(Line::styled(help, Style::new().fg(Color::DarkGray)), keys);

    let mark = shown.column.filter(|_| !shown.is_over).map_or(0, usize::from);
    let mark = Line::styled(format!("{:mark$}▼", ""), Style::new().fg(Color::LightGreen));
    let marked = shown.column.is_some() && !shown.is_over;
    let above = if marked { mark } else { Line::default() };
    let lines: Vec<Line> =
        std::iter::once(above).chain(picture.board.iter().chain(&picture.legend).cloned()).collect();
    let width = lines.iter().map(Line::width).max().unwrap_or(0).max(12) as u16;
    let [left, right] = Layout::horizontal([Constraint::Length(width + 2), Constraint::Min(0)]).areas(body);
    frame.render_widget(Paragraph::new(lines), left);

    let mut facts = picture.facts.clone();
    if !shown.is_over {
        facts.push(Line::styled(format!("enter plays {}", shown.chosen), Style::new().fg(Color::LightGreen)));
    }
    let height = facts.len() as u16 + 2;
    let [state, below] = Layout::vertical([Constraint::Length(height), Constraint::Min(0)]).areas(right);
    frame.render_widget(Paragraph::new(facts).block(Block::bordered().title(" game ")), state);
    if let Some((thoughts, value)) = &shown.thoughts {
        let value = value.map_or(String::new(), |value| format!(", value {value:.2}"));
        let block = Block::bordered().title(format!(" the agent's view{value} "));
        let width = usize::from(block.inner(below).width).saturating_sub(28).min(30);
        let lines: Vec<Line> =
            thoughts.iter().map(|thought| thought_line(thought, shown.selected, width)).collect();
        frame.render_widget(Paragraph::new(lines).block(block), below);
    }
}

fn thought_line(thought: &Thought, selected: usize, width: usize) -> Line<'static> {
    let name: String = thought.name.chars().take(10).collect();
    let worth = thought.value.map_or(String::new(), |value| format!("{value:>8.3}"));
    let bar = bar(thought.probability, width);
    let style = Style::new();
    let style = if thought.action == selected { style.add_modifier(Modifier::BOLD) } else { style };
    Line::styled(format!("{name:<11}{bar}{:>6.1}%{worth}", 100.0 * thought.probability), style)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal as Screen;
    use ratatui::backend::TestBackend;

    use super::*;

    fn text(shown: &Shown, width: u16, height: u16) -> String {
        let picture = Picture {
            board: vec![Line::from(" 0 1 2"), Line::from(" . X O")],
            legend: Vec::new(),
            facts: vec![Line::from("X to move")],
        };
        let mut screen = Screen::new(TestBackend::new(width, height)).unwrap();
        screen.draw(|frame| draw(frame, shown, &picture)).unwrap();
        let cells = screen.backend().buffer().content().chunks(width.into());
        let line =
            |cells: &[ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect::<String>();
        cells.map(line).collect::<Vec<_>>().join("\n")
    }

    fn shown() -> Shown {
        let thought = |action: usize, probability, value| Thought {
            action,
            name: format!("column {action}"),
            probability,
            value,
        };
        Shown {
            title: " you against smart".into(),
            chosen: "column 1".into(),
            column: Some(3),
            is_over: false,
            thoughts: Some((vec![thought(0, 0.25, Some(-0.5)), thought(1, 0.75, None)], Some(0.25))),
            selected: 1,
        }
    }

    #[test]
    fn the_board_the_choice_and_the_thoughts_are_on_the_screen() {
        let all = text(&shown(), 80, 20);
        for part in [
            "you against smart",
            "   ▼",
            " . X O",
            "X to move",
            "enter plays column 1",
            "value 0.25",
            "25.0%  -0.500",
            "75.0%",
        ] {
            assert!(all.contains(part), "no {part:?} in\n{all}");
        }
        let over = Shown { is_over: true, thoughts: None, ..shown() };
        let all = text(&over, 80, 20);
        assert!(!all.contains('▼') && !all.contains("enter plays") && !all.contains("25.0%"), "{all}");
        for (width, height) in [(40, 10), (12, 3), (1, 1)] {
            text(&shown(), width, height);
        }
    }

    #[test]
    fn keys_choose_and_play() {
        let mut view = View { chosen: 0, thoughts: false };
        assert_eq!(view.press(Key::Left, 7), Wish::Nothing);
        assert_eq!(view.chosen, 6, "from the first to the last");
        view.press(Key::Right, 7);
        view.press(Key::Down, 7);
        assert_eq!((view.chosen, view.press(Key::Enter, 7)), (1, Wish::Play));
        view.press(Key::Char('v'), 7);
        assert!(view.thoughts);
        let wishes = ['u', 'n', 'q', 'x'].map(|key| view.press(Key::Char(key), 7));
        assert_eq!(wishes, [Wish::Undo, Wish::New, Wish::Quit, Wish::Nothing]);
    }
}
