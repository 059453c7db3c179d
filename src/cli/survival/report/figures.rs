//! The figures of a report, each on a light and on a dark ground.

mod panel;

use crate::cli::picture::{Anchor, Picture, Point};
use crate::cli::survival::summary::{Bin, Group, Lives, Summary, capital};
use crate::statistics::{Comparison, Moments, p_text};

use panel::{Panel, Scale, Theme};

/// A figure: its file's name, what it shows, and how to read it.
pub struct Figure<'a> {
    pub name: &'static str,
    pub title: String,
    pub caption: &'static str,
    draw: Box<dyn Fn(&Theme) -> Picture + 'a>,
}

/// All figures in both themes, by the names of their files.
pub fn all(summary: &Summary) -> Vec<(String, Picture)> {
    let in_themes = |figure: Figure| {
        [panel::LIGHT, panel::DARK]
            .map(|theme| (format!("{}_{}", figure.name, theme.name), (figure.draw)(&theme)))
    };
    list(summary).into_iter().flat_map(in_themes).collect()
}

/// All figures.
pub fn list(summary: &Summary) -> Vec<Figure<'_>> {
    let [good, bad] = [summary.survival.good.name, summary.survival.bad.name];
    let figure = |name, title: &str, caption, draw| Figure { name, title: title.to_owned(), caption, draw };
    let titled = move |title: &'static str, panels: Vec<Draw>| -> Box<dyn Fn(&Theme) -> Picture> {
        Box::new(move |theme| picture(summary, theme, title, &panels))
    };
    vec![
        figure(
            "survival_comparison",
            "Survival",
            "Mean steps of a life; each line is ten times the one below.",
            titled("Survival", vec![survival]),
        ),
        Figure {
            name: "consumption_comparison",
            title: format!("{} and {bad}", capital(good)),
            caption: "Eaten per 1000 steps.",
            draw: titled("Eaten per 1000 steps", vec![consumption]),
        },
        figure(
            "efficiency_comparison",
            "Efficiency",
            "Mean over lives (solid) and share of all that was eaten (hatched).",
            titled(
                "Efficiency: mean over lives (solid), of all that was eaten (hatched)",
                vec![both_efficiencies],
            ),
        ),
        figure(
            "goodhart_summary",
            "Summary",
            "Efficiency, survival, energy and deaths.",
            titled("Summary", vec![efficiency, survival, energy, deaths]),
        ),
        figure(
            "efficiency_comparison_annotated",
            "Efficiency, tested",
            "Mean over lives with its 95 % interval; the bracket has the test of the two kinds.",
            titled("Efficiency with 95 % intervals", vec![tested_efficiency]),
        ),
        figure(
            "goodhart_summary_annotated",
            "Summary, tested",
            "Efficiency and survival with their 95 % intervals and tests.",
            titled("Summary with 95 % intervals", vec![tested_efficiency, tested_survival]),
        ),
        figure(
            "efficiency_distribution_box",
            "Efficiency of lives",
            "Boxes hold the middle half of the lives, with the median; whiskers reach from 5 % to 95 %; the dot is the mean.",
            titled(
                "Efficiency of lives (box: quartiles, whiskers: 5 to 95 %, dot: mean)",
                vec![efficiency_boxes],
            ),
        ),
        figure(
            "survival_distribution_violin",
            "Survival of lives, as densities",
            "Widths are shares of lives; the line is the median.",
            titled("Survival of lives (width: share of lives, line: median)", vec![survival_violins]),
        ),
        figure(
            "survival_distribution_box",
            "Survival of lives",
            "Boxes hold the middle half of the lives, with the median; whiskers reach from 5 % to 95 %; the dot is the mean.",
            titled(
                "Survival of lives (box: quartiles, whiskers: 5 to 95 %, dot: mean)",
                vec![survival_boxes],
            ),
        ),
    ]
}

/// Draws a panel between two corners.
type Draw = fn(&Summary, &mut Picture, &Theme, [Point; 2]);

/// Sizes of panels, and the height of a title.
const COLUMN: f64 = 118.0;
const LEAST_WIDTH: f64 = 430.0;
const HEIGHT: f64 = 330.0;
const TITLE: f64 = 46.0;

/// A title over panels, two in a row.
fn picture(summary: &Summary, theme: &Theme, title: &str, panels: &[Draw]) -> Picture {
    let width = (COLUMN * summary.kinds.len() as f64 + 90.0).max(LEAST_WIDTH);
    let columns = panels.len().min(2);
    let rows = panels.len().div_ceil(2);
    let whole = (width * columns as f64).max(title.len() as f64 * 9.6);
    let mut picture = Picture::on(theme.ground, whole, HEIGHT * rows as f64 + TITLE);
    picture.heading((20.0, 30.0), Anchor::Start, theme.ink, title);
    for (i, draw) in panels.iter().enumerate() {
        let (x, y) = ((i % 2) as f64 * width, (i / 2) as f64 * HEIGHT + TITLE);
        draw(summary, &mut picture, theme, [(x, y), (x + whole.max(width) / columns as f64, y + HEIGHT)]);
    }
    picture
}

/// A panel with a column for each kind.
fn opened<'a>(
    summary: &Summary,
    picture: &'a mut Picture,
    theme: &'a Theme,
    corners: [Point; 2],
    title: &str,
    scale: Scale,
) -> Panel<'a> {
    let names: Vec<&str> = summary.kinds.iter().map(|group| group.kind.name).collect();
    Panel::open(picture, theme, corners, title, scale, &names)
}

fn percent(value: f64) -> String {
    format!("{:.1}%", 100.0 * value)
}

/// Bars of a number of each kind.
fn bars(summary: &Summary, panel: &mut Panel, number: impl Fn(&Group) -> f64, text: impl Fn(f64) -> String) {
    for (column, group) in summary.kinds.iter().enumerate() {
        let value = number(group);
        panel.bar(column, (0.5, 0.6), value, panel.theme.colour(&group.kind), false);
        panel.label(column, 0.5, value, &text(value));
    }
}

/// The decades that hold the numbers.
fn decades(values: impl Iterator<Item = f64>) -> Scale {
    let (low, high) = values.fold((f64::MAX, 1.0f64), |(low, high), value| (low.min(value), high.max(value)));
    Scale::Log { low: low.max(1.0).log10().floor(), high: (high.log10() + 0.25).ceil() }
}

fn survival(summary: &Summary, picture: &mut Picture, theme: &Theme, corners: [Point; 2]) {
    let scale = decades(summary.kinds.iter().map(|group| group.survival));
    let mut panel = opened(summary, picture, theme, corners, "Mean steps of a life", scale);
    bars(summary, &mut panel, |group| group.survival, |value| format!("{value:.1}"));
}

fn efficiency(summary: &Summary, picture: &mut Picture, theme: &Theme, corners: [Point; 2]) {
    let mut panel = opened(summary, picture, theme, corners, "Efficiency (mean over lives)", Scale::PERCENT);
    panel.rule(0.5);
    bars(summary, &mut panel, |group| group.efficiency, percent);
}

fn energy(summary: &Summary, picture: &mut Picture, theme: &Theme, corners: [Point; 2]) {
    let scale = Scale::around(summary.kinds.iter().map(|group| group.energy));
    let mut panel = opened(summary, picture, theme, corners, "Energy per 1000 steps", scale);
    bars(summary, &mut panel, |group| group.energy, |value| format!("{value:+.1}"));
}

fn deaths(summary: &Summary, picture: &mut Picture, theme: &Theme, corners: [Point; 2]) {
    let scale = Scale::around(summary.kinds.iter().map(|group| group.deaths));
    let mut panel = opened(summary, picture, theme, corners, "Deaths per 1000 steps", scale);
    bars(summary, &mut panel, |group| group.deaths, |value| format!("{value:.2}"));
}

fn consumption(summary: &Summary, picture: &mut Picture, theme: &Theme, corners: [Point; 2]) {
    let scale = Scale::around(summary.kinds.iter().flat_map(|group| [group.good, group.bad]));
    let [good, bad] = [summary.survival.good.name, summary.survival.bad.name];
    let title = format!("{} (left), {bad} (right, hatched)", capital(good));
    let mut panel = opened(summary, picture, theme, corners, &title, scale);
    for (column, group) in summary.kinds.iter().enumerate() {
        let colour = panel.theme.colour(&group.kind);
        for (place, value, hatched) in [(0.29, group.good, false), (0.71, group.bad, true)] {
            panel.bar(column, (place, 0.38), value, colour, hatched);
            panel.label(column, place, value, &format!("{value:.1}"));
        }
    }
}

fn both_efficiencies(summary: &Summary, picture: &mut Picture, theme: &Theme, corners: [Point; 2]) {
    let mut panel = opened(summary, picture, theme, corners, "", Scale::PERCENT);
    panel.rule(0.5);
    for (column, group) in summary.kinds.iter().enumerate() {
        let colour = panel.theme.colour(&group.kind);
        for (place, value, hatched) in
            [(0.28, group.efficiency, false), (0.72, group.overall_efficiency, true)]
        {
            panel.bar(column, (place, 0.38), value, colour, hatched);
            panel.label(column, place, value, &percent(value));
        }
    }
}

/// Bars with intervals, and a bracket over the most important pair.
fn tested(summary: &Summary, panel: &mut Panel, of: fn(&Lives) -> Moments, text: impl Fn(f64) -> String) {
    for (column, group) in summary.kinds.iter().enumerate() {
        let moments = of(&group.lives);
        let interval = moments.interval();
        panel.bar(column, (0.5, 0.6), moments.mean, panel.theme.colour(&group.kind), false);
        panel.whisker(column, 0.5, [interval.low, interval.high]);
        panel.label(column, 0.5, moments.mean.max(interval.high), &text(moments.mean));
    }
    let Some([a, b]) = summary.pairs().next() else { return };
    let place = |group: &Group| summary.kinds.iter().position(|other| other.kind.name == group.kind.name);
    let (Some(from), Some(to), Some(found)) =
        (place(a), place(b), Comparison::of(&of(&a.lives), &of(&b.lives)))
    else {
        return;
    };
    let p = p_text(found.p);
    let p = if p.starts_with('<') { p } else { format!("= {p}") };
    panel.bracket(from, to, &format!("p {p}, d = {:.2}", found.cohen_d));
}

fn tested_efficiency(summary: &Summary, picture: &mut Picture, theme: &Theme, corners: [Point; 2]) {
    let title = "Efficiency (mean over lives)";
    let mut panel =
        opened(summary, picture, theme, corners, title, Scale::Linear { low: 0.0, high: 1.3, percent: true });
    panel.rule(0.5);
    tested(summary, &mut panel, |lives| lives.efficiency, percent);
}

fn tested_survival(summary: &Summary, picture: &mut Picture, theme: &Theme, corners: [Point; 2]) {
    let Scale::Log { low, high } = decades(summary.kinds.iter().map(|group| group.lives.survival.mean))
    else {
        return;
    };
    let scale = Scale::Log { low, high: high + 1.0 };
    let mut panel = opened(summary, picture, theme, corners, "Mean steps of a life", scale);
    tested(summary, &mut panel, |lives| lives.survival, |value| format!("{value:.1}"));
}

/// The number below which a share of the lives lies: the lower bound of its bin.
fn quantile(bins: &[Bin], share: f64) -> f64 {
    let all: u64 = bins.iter().map(|bin| bin.count).sum();
    let mut below = 0;
    for bin in bins {
        below += bin.count;
        if below as f64 >= share * all as f64 {
            return bin.low;
        }
    }
    bins.last().map_or(0.0, |bin| bin.low)
}

fn boxes(summary: &Summary, panel: &mut Panel, bins: fn(&Lives) -> &[Bin], mean: fn(&Lives) -> f64) {
    for (column, group) in summary.kinds.iter().enumerate() {
        let bins = bins(&group.lives);
        let quantiles = [0.05, 0.25, 0.5, 0.75, 0.95].map(|share| quantile(bins, share));
        panel.quartiles(column, quantiles, mean(&group.lives), panel.theme.colour(&group.kind));
    }
}

fn efficiency_boxes(summary: &Summary, picture: &mut Picture, theme: &Theme, corners: [Point; 2]) {
    let mut panel = opened(summary, picture, theme, corners, "", Scale::PERCENT);
    boxes(summary, &mut panel, |lives| &lives.efficiency_bins, |lives| lives.efficiency.mean);
}

/// The decades that hold all lives.
fn all_lives(summary: &Summary) -> Scale {
    let edges = |group: &Group| {
        let bins = &group.lives.survival_bins;
        [bins.first().map_or(1.0, |bin| bin.low), bins.last().map_or(1.0, |bin| bin.high)]
    };
    decades(summary.kinds.iter().flat_map(edges))
}

fn survival_boxes(summary: &Summary, picture: &mut Picture, theme: &Theme, corners: [Point; 2]) {
    let mut panel = opened(summary, picture, theme, corners, "Steps", all_lives(summary));
    boxes(summary, &mut panel, |lives| &lives.survival_bins, |lives| lives.survival.mean);
}

/// Slices of a decade of a density.
const SLICES: f64 = 16.0;

fn survival_violins(summary: &Summary, picture: &mut Picture, theme: &Theme, corners: [Point; 2]) {
    let mut panel = opened(summary, picture, theme, corners, "Steps", all_lives(summary));
    for (column, group) in summary.kinds.iter().enumerate() {
        let bins = &group.lives.survival_bins;
        let (Some(first), Some(last)) = (bins.first(), bins.last()) else { continue };
        // A place on the axis in slices; a bin takes part in all that it overlaps.
        let place = |steps: f64| steps.max(1.0).log10() * SLICES;
        let (low, high) = (place(first.low).floor(), place(last.high).ceil());
        let mut counts = vec![0.0; (high - low).max(1.0) as usize];
        for bin in bins {
            let (from, to) = (place(bin.low) - low, place(bin.high) - low);
            for (slice, count) in counts.iter_mut().enumerate() {
                let overlap = to.min(slice as f64 + 1.0) - from.max(slice as f64);
                *count += bin.count as f64 * (overlap.max(0.0) / (to - from).max(1e-9)).min(1.0);
            }
        }
        let most = counts.iter().copied().fold(1.0, f64::max);
        let edge = |i: usize| 10f64.powf((low + i as f64) / SLICES);
        let widths: Vec<(f64, f64, f64)> =
            counts.iter().enumerate().map(|(i, count)| (edge(i), edge(i + 1), count / most)).collect();
        panel.violin(column, &widths, quantile(bins, 0.5), panel.theme.colour(&group.kind));
    }
}
