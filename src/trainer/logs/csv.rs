//! `updates.csv`: one line per row, for spreadsheets and data frames.

use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};

use crate::files;
use crate::trainer::metrics::{Row, time_metrics};

/// The first line, with its newline: the names of the metrics as everywhere.
pub fn header(metric_names: &[String]) -> Vec<u8> {
    let metrics = metric_names.iter().map(|name| quoted(name));
    let columns = ["update", "timesteps"].map(String::from).into_iter().chain(metrics);
    let times = time_metrics().into_iter().map(|metric| metric.name.into_owned());
    let columns: Vec<_> = columns.chain(times).chain(["timestamp".into()]).collect();
    (columns.join(",") + "\n").into_bytes()
}

/// One line, with its newline. A cell without a value is empty.
pub fn encode(row: &Row) -> Vec<u8> {
    let mut line = format!("{},{}", row.update, row.timesteps);
    for value in &row.values {
        line.push(',');
        value.map_or(Ok(()), |value| write!(line, "{value}")).expect("a string takes all");
    }
    line.extend(std::iter::repeat_n(',', row.names.len() - row.values.len()));
    for (_, value) in row.times() {
        write!(line, ",{value}").expect("a string takes all");
    }
    writeln!(line, ",{}", row.time).expect("a string takes all");
    line.into_bytes()
}

/// The first line of the table by step, with its newline.
pub fn table_header(metric_names: &[String]) -> Vec<u8> {
    let own = ["step", "episode", "epsilon", "learning_rate"].map(String::from);
    let columns: Vec<_> = own.into_iter().chain(metric_names.iter().map(|name| quoted(name))).collect();
    (columns.join(",") + "\n").into_bytes()
}

/// One line of the table by step, with its newline. A cell without a value is empty.
pub fn encode_table(row: &Row) -> Vec<u8> {
    let text = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let [exploration, learning_rate] =
        [row.rates.exploration, row.rates.learning_rate].map(|rate| text(rate.map(|[last, _]| last)));
    let mut line = format!("{},{},{exploration},{learning_rate}", row.timesteps, row.episodes);
    for value in &row.values {
        line.push(',');
        line += &text(value.map(f64::from));
    }
    line.extend(std::iter::repeat_n(',', row.names.len() - row.values.len()));
    line.push('\n');
    line.into_bytes()
}

/// Whether the table at `path` has these columns. One that has others is put aside; none has any columns.
pub fn keep_if_header_is(path: &Path, header: &[u8]) -> Result<bool> {
    let Ok((file, _)) = files::open(path) else { return Ok(true) };
    let mut first = Vec::new();
    let read = BufReader::new(file).read_until(b'\n', &mut first);
    read.with_context(|| format!("cannot read {}", path.display()))?;
    if first == header || first.is_empty() {
        return Ok(true);
    }
    fs::rename(path, super::free_name(path)).with_context(|| format!("cannot move {}", path.display()))?;
    Ok(false)
}

/// A cell that may hold commas.
pub fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_commas_are_quoted() {
        let header = header(&["train/entropy", "a,b"].map(String::from));
        assert_eq!(
            String::from_utf8(header).unwrap(),
            "update,timesteps,train/entropy,\"a,b\",\
             time/steps_per_second,time/updates_per_second,time/wall_seconds,time/train_percent,\
             time/evaluate_percent,time/save_percent,time/log_percent,time/other_percent,timestamp\n"
        );
    }
}
