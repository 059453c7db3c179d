//! The text of a report, in Markdown.

use std::fmt::Write;

use anyhow::Result;
use serde_json::Value;

use crate::cli::survival::summary::{Group, Summary, capital};
use crate::statistics::power::{Demand, achieved, steps};
use crate::statistics::{Comparison, Interval, Moments, magnitude, p_text, stars};

use super::figures;

/// What the power analysis asks for.
const ALPHA: f64 = 0.05;
const POWERS: [f64; 3] = [0.8, 0.9, 0.95];
/// Effects of the table of sample sizes.
const EFFECTS: [f64; 5] = [0.5, 0.8, 1.0, 1.5, 2.0];
/// Deaths per 1000 steps from which the duration of an experiment is estimated.
const USUAL_DEATHS: f64 = 3.0;
/// Deaths of a kind, and runs, below which a report says that they are few.
const FEW_DEATHS: u64 = 100;
const FEW_RUNS: usize = 3;

/// The whole report.
///
/// # Errors
/// None but of numbers out of range, which results do not have.
pub fn report(document: &Value, summary: &Summary, with_figures: bool) -> Result<String> {
    let env = document["env"].as_str().unwrap_or_default();
    let time = document["timestamp"].as_str().unwrap_or_default();
    let mut text = format!("# Evaluation by lives in {env}\n\nResults of {time}.\n");
    text += &executive(summary);
    text += &tests(summary);
    text += &power(summary)?;
    if with_figures {
        text += &pictures(summary);
    }
    text += &methodology(document, summary);
    Ok(text)
}

/// Rows of cells as a table.
fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule: Vec<String> = (0..head.len()).map(|i| if i == 0 { "---" } else { "---:" }.to_owned()).collect();
    [head, &rule].into_iter().chain(rows.iter().map(Vec::as_slice)).map(line).collect()
}

fn words(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

fn executive(summary: &Summary) -> String {
    let mut text = "\n## Executive Summary\n\n".to_owned();
    if let (Some(ratio), Some(gap), Some([first, second])) =
        (summary.collapse_ratio(), summary.energy_gap(), summary.pairs().next())
    {
        let index = (first.efficiency - second.efficiency) / first.efficiency;
        let (a, b) = (first.kind.name, second.kind.name);
        _ = write!(
            text,
            "- **Survival Collapse Ratio**: {ratio:.1}x ({a} against {b})\n\
             - Energy gap: {gap:.1} per 1000 steps\n\
             - Goodhart Failure Index, (efficiency of {a} - efficiency of {b}) / efficiency of {a}: {index:.3}\n\n"
        );
    }
    let (head, rows) = summary.cells();
    text += &table(&head, &rows);
    let few: Vec<String> =
        summary.kinds.iter().filter(|group| group.total_deaths < FEW_DEATHS).map(few).collect();
    if !few.is_empty() {
        _ = write!(text, "\nFewer than {FEW_DEATHS} deaths: {}.\n", few.join(", "));
    }
    text
}

fn few(group: &Group) -> String {
    format!("{} ({})", group.kind.name, group.total_deaths)
}

/// A mean with its interval.
fn mean(moments: &Moments) -> String {
    format!("{:.2} {}", moments.mean, interval(moments.interval()))
}

fn interval(Interval { low, high }: Interval) -> String {
    format!("[{low:.2}, {high:.2}]")
}

fn tests(summary: &Summary) -> String {
    let mut text =
        "\n## Statistical Analysis\n\nLives are the samples, those of all runs together, finished or not. \
                    Intervals hold 95 %; p is that of Welch's t test, two-sided.\n"
            .to_owned();
    for [a, b] in summary.pairs() {
        let (of_a, of_b) = (a.kind.name, b.kind.name);
        _ = write!(text, "\n### {of_a} - {of_b}\n\n");
        let mut rows = Vec::new();
        for measure in summary.measures() {
            let groups = [&a.lives, &b.lives].map(measure.of);
            let mut row = vec![measure.title.clone(), mean(&groups[0]), mean(&groups[1])];
            match Comparison::of(&groups[0], &groups[1]) {
                Some(Comparison { difference, interval: within, t, degrees, p, cohen_d, hedges_g }) => row
                    .extend([
                        format!("{difference:.2} {}", interval(within)),
                        format!("{t:.2} ({degrees:.0})"),
                        format!("{} {}", p_text(p), stars(p)),
                        format!("{cohen_d:.2}"),
                        format!("{hedges_g:.2}"),
                        magnitude(cohen_d).to_owned(),
                    ]),
                None => row.extend(std::iter::repeat_n("-".to_owned(), 6)),
            }
            rows.push(row);
        }
        let head = ["Measure", of_a, of_b, "Difference", "t (df)", "p", "Cohen's d", "Hedges' g", "Effect"];
        text += &table(&words(&head), &rows);
    }
    text
}

fn power(summary: &Summary) -> Result<String> {
    let mut text = format!("\n## Power Analysis\n\nEfficiency, alpha = {ALPHA}, two-sided.\n\n");
    let measures = summary.measures();
    let mut rows = Vec::new();
    for [a, b] in summary.pairs() {
        let groups = [&a.lives, &b.lives].map(measures[0].of);
        let Some(found) = Comparison::of(&groups[0], &groups[1]) else { continue };
        let sizes = groups.map(|group| group.count);
        let effect = found.cohen_d.abs();
        let least = sizes[0].min(sizes[1]) as f64;
        let detectable = demand(POWERS[0]).detectable(least)?;
        rows.push(vec![
            format!("{} - {}", a.kind.name, b.kind.name),
            format!("{} and {}", sizes[0], sizes[1]),
            format!("{effect:.2}"),
            format!("{:.4}", achieved(effect, sizes, ALPHA)?),
            format!("{detectable:.3}"),
        ]);
    }
    let head = ["Pair", "Lives", "Effect (d)", "Achieved power", "Smallest effect shown with power 0.8"];
    text += &table(&words(&head), &rows);
    let all = summary.kinds.iter();
    let few: Vec<String> =
        all.filter(|group| group.total_deaths < FEW_DEATHS || group.runs < FEW_RUNS).map(few).collect();
    text += &match few.is_empty() {
        true => format!("\nEach kind has at least {FEW_DEATHS} deaths and {FEW_RUNS} runs.\n"),
        false => format!(
            "\nKinds with fewer than {FEW_DEATHS} deaths or {FEW_RUNS} runs (deaths): {}.\n",
            few.join(", ")
        ),
    };
    text += "\nLives that each group needs:\n\n";
    let mut rows = Vec::new();
    for effect in EFFECTS {
        let sizes = POWERS.map(|power| demand(power).sample_size(effect));
        let duration = steps(demand(POWERS[0]).sample_size(effect)?, USUAL_DEATHS)?;
        let mut row = vec![format!("{effect:.1}")];
        for size in sizes {
            row.push(format!("{}", size?));
        }
        row.push(format!("{duration:.0}"));
        rows.push(row);
    }
    let last = format!("Steps for 80 % at {USUAL_DEATHS} deaths/1k");
    text += &table(&words(&["Effect (d)", "Power 80 %", "Power 90 %", "Power 95 %", &last]), &rows);
    Ok(text)
}

fn demand(power: f64) -> Demand {
    Demand { alpha: ALPHA, power, one_sided: false }
}

fn pictures(summary: &Summary) -> String {
    let mut text = "\n## Figures\n".to_owned();
    for figure in figures::list(summary) {
        let (name, title) = (figure.name, &figure.title);
        _ = write!(
            text,
            "\n<picture>\n  <source media=\"(prefers-color-scheme: dark)\" srcset=\"figures/{name}_dark.png\">\n  \
             <img alt=\"{title}\" src=\"figures/{name}_light.png\" width=\"720\">\n</picture>\n\n{title}. {}\n",
            figure.caption
        );
    }
    text
}

fn methodology(document: &Value, summary: &Summary) -> String {
    let mut text = "\n## Methodology\n\n".to_owned();
    for group in &summary.kinds {
        let result = &document["results"][group.kind.name];
        let seeds = match &result["aggregates"]["seeds"] {
            Value::Array(seeds) => seeds.iter().map(Value::to_string).collect::<Vec<_>>().join(", "),
            _ => result["config"]["seed"].to_string(),
        };
        let Group { runs, total_steps, total_deaths, .. } = group;
        let lives = group.lives.survival.count;
        _ = writeln!(
            text,
            "- {}: {total_steps} steps of all agents, {lives} lives, {total_deaths} deaths, {runs} run(s) with the seeds {seeds}",
            group.kind.name
        );
    }
    let [good, bad] = [summary.survival.good.name, summary.survival.bad.name];
    text + &format!(
        "\n{} and deaths are counted per 1000 steps of all agents, and averaged over the runs. Survival is the mean length of all \
             lives, those included that went on at the end. The efficiency of a life is the share of {good} in the {good} and {bad} that it ate, 1 \
             if it ate nothing; the table has the mean over all lives of all runs.\n",
        capital(&format!("energy, {good}, {bad}"))
    )
}
