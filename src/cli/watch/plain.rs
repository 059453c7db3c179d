//! Plain text: one block a step, for pipes and files.

use anyhow::Result;

use super::session::{Scene, Session};
use crate::cli::print;
use crate::envs::painter::{Painter, Picture};

/// Actions that are listed with their probabilities.
const CHOICES: usize = 5;

/// Plays all episodes and prints every step.
pub fn run(session: &mut Session, painter: &dyn Painter) -> Result<()> {
    loop {
        let scene = session.scene();
        print(&block(scene, &painter.paint(&scene.moment.frame())))?;
        if session.is_over() {
            return print(&summary(session));
        }
        session.advance()?;
    }
}

/// What there is to see, as lines that end with an empty one.
fn block(scene: &Scene, picture: &Picture) -> String {
    let mut text = headline(scene);
    text.push('\n');
    for line in beside(&picture.board, &picture.facts) {
        text += line.trim_end();
        text.push('\n');
    }
    let paid: Vec<String> = scene
        .rewards()
        .iter()
        .filter(|part| part.last != 0.0)
        .map(|part| format!("{} {:+.3}", part.name, part.last))
        .collect();
    if !paid.is_empty() {
        text += &format!("paid: {}\n", paid.join(", "));
    }
    match scene.end {
        Some(end) => {
            text += &format!("{end} after {} steps, return {:.3}\n", scene.steps, scene.episode_return)
        }
        None => text += &format!("next: {}\n", choices(scene)),
    }
    text.push('\n');
    text
}

fn headline(scene: &Scene) -> String {
    let mut text = format!("episode {}/{}  step {}", scene.episode + 1, scene.episodes, scene.steps);
    if let Some((action, outcome)) = &scene.last {
        text += &format!("  action {}  reward {:.3}", scene.description.action(*action), outcome.reward);
    }
    text += &format!("  return {:.3}", scene.episode_return);
    if let Some(value) = scene.moment.value {
        text += &format!("  value {value:.3}");
    }
    text
}

/// The actions that may come next; the one that will is in brackets.
fn choices(scene: &Scene) -> String {
    let name = |action: usize| match action == scene.moment.action {
        true => format!("[{}]", scene.description.action(action)),
        false => scene.description.action(action).to_owned(),
    };
    let all = scene.choices();
    let mut shown: Vec<String> =
        all.iter().take(CHOICES).map(|(action, p)| format!("{} {:.0}%", name(*action), 100.0 * p)).collect();
    if all.len() > CHOICES {
        shown.push(format!("{} more", all.len() - CHOICES));
    }
    shown.join(", ")
}

/// Two columns of lines.
pub fn beside(left: &[ratatui::text::Line], right: &[ratatui::text::Line]) -> Vec<String> {
    let width = left.iter().map(|line| line.width()).max().unwrap_or(0);
    let line = |i: usize| {
        let text = |lines: &[ratatui::text::Line]| lines.get(i).map(ToString::to_string).unwrap_or_default();
        let (left, right) = (text(left), text(right));
        format!("{left:<width$}  {right}")
    };
    (0..left.len().max(right.len())).map(line).collect()
}

/// How the episodes went.
pub fn summary(session: &Session) -> String {
    let results = session.results();
    let mut text = String::new();
    for (i, result) in results.iter().enumerate() {
        let (length, total) = (result.episode_length, result.episode_return);
        text += &format!("episode {}: {length} steps, return {total:.3}", i + 1);
        for (name, value) in &result.outcomes {
            text += &format!(", {name} {}", *value as f32);
        }
        text.push('\n');
    }
    if results.len() > 1 {
        let mean = results.iter().map(|result| result.episode_return).sum::<f64>() / results.len() as f64;
        text += &format!("mean return {mean:.3}\n");
    }
    text
}
