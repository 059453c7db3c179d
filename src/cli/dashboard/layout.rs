//! Which metrics are on the screen and where: the important ones as charts, all others as lines with small curves.
//!
//! A line needs one row and shows what a chart shows but the axes. So there are as many rows of charts as leave room for
//! all other metrics as lines, and at least one; what is left over goes to lines that are extra, then to the charts.

use crate::trainer::history::Curves;

/// What is drawn as a chart, where there is room; the most important first.
const CHARTS: [&str; 12] = [
    "train/mean_episode_return",
    "eval/mean_return",
    "train/entropy",
    "train/mean_episode_length",
    "train/pg_loss",
    "train/vf_loss",
    "train/approx_kl",
    "train/clip_frac",
    "time/steps_per_second",
    "train/mean_reward",
    "train/total_loss",
    "train/num_episodes",
];
/// What comes after those, by the beginning of its name; then all the rest but what is extra.
const GROUPS: [&str; 3] = ["actions/", "reward/", "stats/"];
/// What an evaluation says beside its return: shown where there is room for more than charts.
const EXTRA: &str = "eval/";
/// What is no curve of its own: x axes, clocks, what others say as well.
const HIDDEN: [&str; 6] = [
    "update",
    "timesteps",
    "time/wall_seconds",
    "time/updates_per_second",
    "train/num_timesteps",
    "train/ent_loss",
];

/// The least size of a chart and of a line.
const CHART_WIDTH: u16 = 38;
const CHART_HEIGHT: u16 = 8;
const LINE_WIDTH: u16 = 38;

/// Where things go.
#[derive(Debug, PartialEq)]
pub struct Plan {
    pub charts: Vec<String>,
    pub lines: Vec<String>,
    /// Charts beside each other.
    pub chart_columns: usize,
    /// Rows of characters for all charts.
    pub chart_rows: u16,
    /// Lines beside each other.
    pub line_columns: usize,
    /// Metrics for which there is no room.
    pub missing: usize,
}

/// The metrics of a run in the order of their importance.
pub fn in_order(curves: &Curves) -> Vec<String> {
    let rank = |name: &str| match CHARTS.iter().position(|chart| *chart == name) {
        Some(rank) => rank,
        None if name.starts_with(EXTRA) => usize::MAX,
        None => {
            let group = GROUPS.iter().position(|group| name.starts_with(group)).unwrap_or(GROUPS.len());
            CHARTS.len() + group
        }
    };
    let mut names: Vec<String> =
        curves.names().into_iter().filter(|name| !HIDDEN.contains(name)).map(String::from).collect();
    names.sort_by_key(|name| rank(name)); // stable: by name within a group
    names
}

/// Puts metrics on a screen of `width` x `height` characters. If they were asked for, all of them become charts.
pub fn plan(names: &[String], asked: bool, width: u16, height: u16) -> Plan {
    let chart_columns = usize::from(width / CHART_WIDTH).clamp(1, 4);
    let line_columns = usize::from(width / LINE_WIDTH).clamp(1, 4);
    if asked {
        let chart_columns = chart_columns.min(names.len().max(1));
        let charts = names.to_vec();
        return Plan {
            charts,
            lines: Vec::new(),
            chart_columns,
            chart_rows: height,
            line_columns,
            missing: 0,
        };
    }
    let is_chart = |name: &&String| CHARTS.contains(&name.as_str());
    let chartable = names.iter().filter(is_chart).count();
    let needed = names.iter().filter(|name| is_chart(name) || !name.starts_with(EXTRA)).count();
    let charts_in = |rows: usize| (rows * chart_columns).min(chartable);
    let fits = |rows: &usize| {
        let lines = (needed - charts_in(*rows)).div_ceil(line_columns);
        rows * usize::from(CHART_HEIGHT) + lines <= usize::from(height)
    };
    let most_rows = chartable.div_ceil(chart_columns).max(1);
    let rows = (1..=most_rows).rev().find(fits).unwrap_or(1);
    let (charts, lines) = names.split_at(charts_in(rows));
    let room_for_lines = height.saturating_sub(rows as u16 * CHART_HEIGHT);
    let line_rows = lines.len().div_ceil(line_columns).min(room_for_lines.into());
    let chart_rows = height - line_rows as u16;
    let shown = lines.len().min(line_rows * line_columns);
    Plan {
        charts: charts.to_vec(),
        lines: lines[..shown].to_vec(),
        chart_columns: chart_columns.min(charts.len().max(1)),
        chart_rows,
        line_columns,
        missing: lines.len() - shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        let others = (0..count).map(|number| format!("reward/{number}"));
        CHARTS.into_iter().map(String::from).chain(others).collect()
    }

    #[test]
    fn lines_come_first_and_charts_take_what_is_left() {
        // 12 + 18 metrics: two charts beside each other, the other 28 in two columns of lines need 14 rows.
        let small = plan(&names(18), false, 80, 22);
        assert_eq!((small.chart_columns, small.charts.len(), small.chart_rows), (2, 2, 8));
        assert_eq!((small.lines.len(), small.missing), (28, 0));
        let tight = plan(&names(18), false, 80, 18);
        assert_eq!((tight.charts.len(), tight.lines.len(), tight.missing), (2, 20, 8));
        let large = plan(&names(18), false, 160, 42);
        assert_eq!((large.chart_columns, large.charts.len(), large.lines.len()), (4, 12, 18));
        assert_eq!(large.chart_rows, 42 - 5);
        let evaluated = [names(18), (0..20).map(|number| format!("eval/{number}")).collect()].concat();
        // Three rows of three charts need 24 rows, the other 21 metrics of the training 7; one is left over.
        let extra = plan(&evaluated, false, 132, 32);
        assert_eq!((extra.charts.len(), extra.chart_rows, extra.lines.len(), extra.missing), (9, 24, 24, 17));
        let tiny = plan(&names(18), false, 1, 1);
        assert_eq!((tiny.chart_rows, tiny.lines.len()), (1, 0));
        assert_eq!(plan(&[], false, 80, 20).missing, 0);
        let asked = plan(&names(1)[..3], true, 160, 40);
        assert_eq!((asked.charts.len(), asked.chart_columns, asked.chart_rows), (3, 3, 40));
    }
}
