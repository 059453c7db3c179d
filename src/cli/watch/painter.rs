//! Painters: from the state of an environment to lines of text with colours.

use ratatui::text::Line;

use super::{cartpole, hackmatrix};
use crate::algorithms::playback::Moment;
use crate::envs::{Description, Entry};

/// What a state looks like.
pub struct Picture {
    /// The scene itself.
    pub board: Vec<Line<'static>>,
    /// How to read it.
    pub legend: Vec<Line<'static>>,
    /// What else there is to know.
    pub facts: Vec<Line<'static>>,
}

/// Draws the states of one environment.
pub trait Painter {
    fn paint(&self, moment: &Moment) -> Picture;

    /// Steps per second at speed 1.
    fn pace(&self) -> f64;
}

/// The painter for an environment; one for all shows the observation.
pub fn of(env: &Entry) -> Box<dyn Painter> {
    let description = env.description();
    match env.name {
        "hackmatrix" => Box::new(hackmatrix::HackMatrixPainter::new()),
        "cartpole" => Box::new(cartpole::CartPolePainter { description }),
        _ => Box::new(ObservationPainter { description }),
    }
}

/// Lists the numbers of the observation.
struct ObservationPainter {
    description: Description,
}

impl Painter for ObservationPainter {
    fn paint(&self, moment: &Moment) -> Picture {
        Picture { board: observation(&self.description, moment), legend: Vec::new(), facts: Vec::new() }
    }

    fn pace(&self) -> f64 {
        10.0
    }
}

/// The numbers of the observation with their names, one a line.
pub fn observation(description: &Description, moment: &Moment) -> Vec<Line<'static>> {
    /// More do not fit on any screen.
    const MOST: usize = 60;
    let names = description.observation_names().into_iter().zip(&moment.obs);
    names.take(MOST).map(|(name, value)| Line::from(format!("{name:<16}{value:>9.4}"))).collect()
}
