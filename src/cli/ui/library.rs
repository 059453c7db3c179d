//! Curves that were read, and of them no more points than a screen can show.
//!
//! A run may have millions of rows. What was read of its files is kept, so that a run that goes on costs only its new rows; and of each
//! stretch of the axis a curve keeps the first, the lowest, the highest and the last point, so that its picture is the one that all points
//! would give.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use clap::ValueEnum;

use super::answer::Failure;
use super::asked::Asked;
use crate::trainer::history::{Axis, Curves, Follower};

/// Points of x and y.
pub type Points = Vec<(f64, f64)>;

/// Runs whose curves are kept in memory.
const MOST_KEPT: usize = 24;
/// Rows of a run that are kept; of a longer one every second, fourth and so on.
const MOST_ROWS: usize = 1 << 16;
/// Stretches that a curve is divided into, and the most that may be asked for.
const STRETCHES: usize = 400;
const MOST_STRETCHES: usize = 4000;

/// The curves that were asked for last.
#[derive(Default)]
pub struct Library {
    kept: Mutex<Vec<(PathBuf, Arc<Mutex<Follower>>)>>,
}

impl Library {
    /// Reads what is new of a run, and gives what is made of its curves.
    ///
    /// # Errors
    /// One line: its metrics cannot be read.
    pub fn with<T>(&self, run: &Path, make: impl FnOnce(&Curves) -> T) -> Result<T> {
        let follower = self.follower(run);
        let mut follower = follower.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(make(follower.update()?))
    }

    fn follower(&self, run: &Path) -> Arc<Mutex<Follower>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(path, _)| path == run);
        let entry = place.map(|place| kept.remove(place));
        let entry = entry
            .unwrap_or_else(|| (run.to_path_buf(), Arc::new(Mutex::new(Follower::keeping(run, MOST_ROWS)))));
        let follower = entry.1.clone();
        kept.insert(0, entry);
        kept.truncate(MOST_KEPT);
        follower
    }
}

/// What part of curves is wanted, and how finely.
#[derive(Clone, Copy)]
pub struct View {
    pub axis: Axis,
    from: f64,
    to: f64,
    stretches: usize,
}

impl View {
    /// What a request says: `x`, `from`, `to`, `points`.
    ///
    /// # Errors
    /// Something that cannot be understood.
    pub fn asked(asked: &Asked) -> Result<Self, Failure> {
        let axis = match asked.get("x") {
            None => Axis::default(),
            Some(name) => Axis::from_str(name, false)
                .map_err(|_| Failure::wrong("x must be update, timesteps or time"))?,
        };
        Ok(Self {
            axis,
            from: asked.number("from", f64::MIN..=f64::MAX)?.unwrap_or(f64::NEG_INFINITY),
            to: asked.number("to", f64::MIN..=f64::MAX)?.unwrap_or(f64::INFINITY),
            stretches: asked.number("points", 10..=MOST_STRETCHES)?.unwrap_or(STRETCHES),
        })
    }

    /// The places of the points that are to be shown: those within the range, and one on each side, thinned out.
    pub fn shown<T>(&self, points: &[T], at: impl Fn(&T) -> (f64, f64)) -> Vec<usize> {
        let x = |place: usize| at(&points[place]).0;
        let first = (0..points.len()).find(|&place| x(place) >= self.from).unwrap_or(points.len());
        let end = (first..points.len()).find(|&place| x(place) > self.to).unwrap_or(points.len());
        let (first, end) = (first.saturating_sub(1), (end + 1).min(points.len()));
        if end - first <= 4 * self.stretches {
            return (first..end).collect();
        }
        let (low, high) = (x(first), x(end - 1));
        let stretch = |place: usize| {
            let share = (x(place) - low) / (high - low);
            ((share * self.stretches as f64) as usize).min(self.stretches - 1)
        };
        let mut kept = Vec::with_capacity(4 * self.stretches);
        let places: Vec<usize> = (first..end).collect();
        for places in places.chunk_by(|&a, &b| stretch(a) == stretch(b)) {
            let by_height = |a: &&usize, b: &&usize| at(&points[**a]).1.total_cmp(&at(&points[**b]).1);
            let lowest = places.iter().min_by(by_height);
            let highest = places.iter().max_by(by_height);
            let mut chosen: Vec<usize> =
                [places.first(), lowest, highest, places.last()].into_iter().flatten().copied().collect();
            chosen.sort_unstable();
            chosen.dedup();
            kept.extend(chosen);
        }
        kept
    }
}

/// A number in as many digits as an f32 has, as which it was computed.
pub fn short(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::METRICS;

    #[test]
    fn a_thinned_curve_keeps_its_peaks_and_its_ends() {
        let mut points: Points = (0..100_000).map(|i| (f64::from(i), 0.0)).collect();
        points[54_321].1 = 7.0;
        points[54_322].1 = -7.0;
        let view = View { axis: Axis::Update, from: f64::NEG_INFINITY, to: f64::INFINITY, stretches: 100 };
        let shown = view.shown(&points, |point| *point);
        assert!(shown.len() <= 400 && shown.is_sorted_by(|a, b| a < b), "{}", shown.len());
        for place in [0, 54_321, 54_322, 99_999] {
            assert!(shown.contains(&place), "{place}");
        }
        let near = View { from: 54_300.0, to: 54_400.0, ..view };
        assert_eq!(near.shown(&points, |point| *point), (54_299..54_402).collect::<Vec<_>>());
        let beyond = View { from: 1e9, to: 2e9, ..view };
        assert!(beyond.shown(&points, |point| *point).len() <= 1);
        assert!(view.shown(&[], |point: &(f64, f64)| *point).is_empty());
    }

    #[test]
    fn curves_that_were_asked_for_last_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let library = Library::default();
        for number in 0..MOST_KEPT + 3 {
            let run = dir.path().join(number.to_string());
            std::fs::create_dir(&run).unwrap();
            std::fs::write(run.join(METRICS), format!("{{\"update\":{number},\"timesteps\":1}}\n")).unwrap();
            let names = library.with(&run, |curves| curves.names().len()).unwrap();
            assert_eq!(names, 2);
        }
        let kept = library.kept.lock().unwrap();
        assert_eq!(kept.len(), MOST_KEPT);
        assert!(kept[0].0.ends_with((MOST_KEPT + 2).to_string()));
    }
}
