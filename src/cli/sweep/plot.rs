//! `sweep show --plot`: a picture of a sweep, score against cost with the Pareto front, and score against each setting.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::show::Overview;
use crate::cli::chart;
use crate::cli::picture::{Anchor, Ink, Picture, Point};
use crate::config::UsageError;
use crate::output::tell;
use crate::sweep::Parameter;
use crate::sweep::journal::Trial;

const PANEL: Point = (400.0, 260.0);
/// Room around the axes of a panel: left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (64.0, 34.0, 20.0, 34.0);
const BLUE: [u8; 3] = [0x00, 0x72, 0xb2];
const RED: [u8; 3] = [0xd5, 0x5e, 0x00];
const BLACK: [u8; 3] = [0; 3];
const GREY: [u8; 3] = [0x88; 3];
/// Half the side of the square that stands for a trial.
const DOT: f64 = 2.5;

/// Draws a sweep into a file.
///
/// # Errors
/// One line: its name ends with another format, it cannot be written, or no trial has a score.
pub fn plot(overview: &Overview, out: &Path) -> Result<()> {
    let encode = match out.extension().and_then(|extension| extension.to_str()) {
        Some("svg") => |picture: Picture| Ok(picture.to_svg().into_bytes()),
        Some("png") => |picture: Picture| picture.to_png(),
        _ => bail!(UsageError(format!(
            "{} ends with neither .svg nor .png, the formats that are written",
            out.display()
        ))),
    };
    overview.best.with_context(|| {
        format!("there is nothing to draw: no trial of {} has a score yet", overview.state.name)
    })?;
    fs::write(out, encode(picture(overview))?).with_context(|| format!("cannot write {}", out.display()))?;
    tell(&format!("drew the sweep into {}", out.display()));
    Ok(())
}

fn picture(overview: &Overview) -> Picture {
    let parameters = &overview.plan.space.parameters;
    let columns = 3.min(parameters.len() + 1);
    let rows = (parameters.len() + 1).div_ceil(columns);
    let mut picture = Picture::new(columns as f64 * PANEL.0, rows as f64 * PANEL.1);
    let trials: Vec<&Trial> = overview.state.trials.iter().filter(|trial| trial.last().is_some()).collect();
    let costs = Axis { title: format!("{} over seconds", overview.plan.metric), label: chart::short };
    let by_cost = points(&trials, |trial| trial.last().map(|last| last.cost));
    let front = points(&overview.front, |trial| trial.last().map(|last| last.cost));
    panel(&mut picture, (0.0, 0.0), &costs, &by_cost, &front);
    for (place, parameter) in parameters.iter().enumerate() {
        let (column, row) = ((place + 1) % columns, (place + 1) / columns);
        let corner = (column as f64 * PANEL.0, row as f64 * PANEL.1);
        let by_value = points(&trials, |trial| parameter.place(trial.values.get(&parameter.name)?));
        let title =
            format!("over {}, from {} to {}", parameter.name, bound(parameter, -1.0), bound(parameter, 1.0));
        panel(&mut picture, corner, &Axis { title, label: |_| String::new() }, &by_value, &[]);
    }
    picture
}

/// The value at an end of a setting's range.
fn bound(parameter: &Parameter, z: f64) -> String {
    let value = parameter.value(z);
    value.as_float().map_or_else(|| value.to_string(), chart::short)
}

fn points(trials: &[&Trial], x: impl Fn(&Trial) -> Option<f64>) -> Vec<Point> {
    trials.iter().filter_map(|trial| Some((x(trial)?, trial.last()?.score))).collect()
}

/// What is written along the x of a panel.
struct Axis {
    title: String,
    label: fn(f64) -> String,
}

/// Trials as dots between axes with round numbers, and a line through those of the front.
fn panel(picture: &mut Picture, (x0, y0): Point, axis: &Axis, dots: &[Point], front: &[Point]) {
    let all = [dots.to_vec()];
    let x_range = chart::range(&all, |point| point.0);
    let (y_ticks, x_ticks) = (chart::ticks(chart::range(&all, |point| point.1), 5), chart::ticks(x_range, 5));
    let (y_low, y_high) = (y_ticks[0], y_ticks[y_ticks.len() - 1]);
    let (x_low, x_high) = (x_ticks[0], x_ticks[x_ticks.len() - 1]);
    let (left, top) = (x0 + MARGIN.0, y0 + MARGIN.1);
    let (right, bottom) = (x0 + PANEL.0 - MARGIN.2, y0 + PANEL.1 - MARGIN.3);
    let at = |(x, y): Point| {
        let across = (x - x_low) / (x_high - x_low) * (right - left);
        (left + across, bottom - (y - y_low) / (y_high - y_low) * (bottom - top))
    };
    let thin = |colour| Ink { colour, opacity: 1.0, width: 1.0 };
    picture.text((left, top - 14.0), Anchor::Start, true, BLACK, &axis.title);
    for &tick in &y_ticks {
        let (_, y) = at((x_low, tick));
        picture.line(vec![(left, y), (right, y)], thin([0xdd; 3]));
        picture.text((left - 6.0, y + 4.0), Anchor::End, false, BLACK, &chart::short(tick));
    }
    for &tick in &x_ticks {
        let (x, _) = at((tick, y_low));
        picture.text((x, bottom + 17.0), Anchor::Middle, false, BLACK, &(axis.label)(tick));
    }
    picture.line(vec![(left, bottom), (right, bottom)], thin(GREY));
    if front.len() > 1 {
        picture.line(
            front.iter().map(|point| at(*point)).collect(),
            Ink { colour: RED, opacity: 1.0, width: 1.5 },
        );
    }
    for (points, colour) in [(dots, BLUE), (front, RED)] {
        for &point in points {
            let (x, y) = at(point);
            let corners = [(-DOT, -DOT), (DOT, -DOT), (DOT, DOT), (-DOT, DOT)];
            let square = corners.map(|(dx, dy)| (x + dx, y + dy)).to_vec();
            picture.area(square, Ink { colour, opacity: 0.7, width: 0.0 });
        }
    }
}
