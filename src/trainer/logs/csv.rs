//! `updates.csv`: one line per row, for spreadsheets and data frames.

use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};

use crate::trainer::metrics::Row;

/// Metrics that have another name in this file; all others keep theirs.
const COLUMN_NAMES: [(&str, &str); 4] = [
    ("pg_loss", "policy_loss"),
    ("vf_loss", "value_loss"),
    ("num_episodes", "episodes_count"),
    ("mean_episode_return", "reward_mean"),
];

/// The first line, with its newline.
pub fn header(metric_names: &[String]) -> Vec<u8> {
    let mut line = String::from("update_num,total_steps");
    for name in metric_names {
        let renamed = COLUMN_NAMES.iter().find(|(metric, _)| metric == name);
        line.push(',');
        line.push_str(&quoted(renamed.map_or(name, |(_, column)| column)));
    }
    line.push_str(",steps_per_second,wall_seconds,timestamp\n");
    line.into_bytes()
}

/// One line, with its newline.
pub fn encode(row: &Row) -> Vec<u8> {
    let mut line = format!("{},{}", row.update, row.timesteps);
    for value in &row.values {
        write!(line, ",{value}").expect("a string takes all");
    }
    line.extend(std::iter::repeat_n(',', row.names.len() - row.values.len()));
    writeln!(line, ",{},{},{}", row.steps_per_second, row.wall_seconds, row.time)
        .expect("a string takes all");
    line.into_bytes()
}

/// Whether the table at `path` has these columns. One that has others is put aside; none has any columns.
pub fn keep_if_header_is(path: &Path, header: &[u8]) -> Result<bool> {
    let Ok(file) = fs::File::open(path) else { return Ok(true) };
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
    fn columns_have_the_names_of_the_specification() {
        let names = ["pg_loss", "vf_loss", "entropy", "num_episodes", "mean_episode_return", "a,b"];
        let header = header(&names.map(String::from));
        assert_eq!(
            String::from_utf8(header).unwrap(),
            "update_num,total_steps,policy_loss,value_loss,entropy,episodes_count,reward_mean,\"a,b\",\
             steps_per_second,wall_seconds,timestamp\n"
        );
    }
}
