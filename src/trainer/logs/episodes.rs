//! `episodes.csv`: one line per episode of the evaluations.

use std::fmt::Write;

use super::csv::quoted;
use crate::algorithms::evaluation::Episode;
use crate::envs::EnvSpec;

/// The first line, with its newline. What an environment counts is summed over the episode, or its maximum.
pub fn header(spec: &EnvSpec) -> Vec<u8> {
    let metrics = spec.metrics.iter().map(|metric| metric.name.clone());
    let actions = spec.action_groups.iter().map(|(name, _)| format!("actions/{name}"));
    let own: String = metrics.chain(actions).map(|name| format!(",{}", quoted(&name))).collect();
    format!("update_num,total_steps,episode,reward,length,truncated{own},timestamp\n").into_bytes()
}

/// The lines of one evaluation, with their newlines.
pub fn encode(update: u64, timesteps: u64, time: jiff::Timestamp, episodes: &[Episode]) -> Vec<u8> {
    let mut lines = String::new();
    for (number, episode) in episodes.iter().enumerate() {
        let Episode { episode_return, other_returns: _, episode_length, finished, metrics, actions } =
            episode;
        let truncated = !finished;
        write!(lines, "{update},{timesteps},{number},{episode_return},{episode_length},{truncated}")
            .and_then(|()| metrics.iter().chain(actions).try_for_each(|value| write!(lines, ",{value}")))
            .and_then(|()| writeln!(lines, ",{time}"))
            .expect("a string takes all");
    }
    lines.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::Metric;

    #[test]
    fn one_line_per_episode() {
        let spec = EnvSpec {
            metrics: vec![Metric::record("highest_stage", "", "the highest stage")],
            action_groups: vec![("move", 0..1)],
            ..EnvSpec::new("x", [1], 2)
        };
        let episode = Episode {
            episode_return: -0.5,
            other_returns: Vec::new(),
            episode_length: 7,
            finished: false,
            metrics: vec![2.0],
            actions: vec![4.0],
        };
        let lines = encode(10, 1000, jiff::Timestamp::UNIX_EPOCH, &[episode.clone(), episode]);
        assert_eq!(
            String::from_utf8([header(&spec), lines].concat()).unwrap(),
            "update_num,total_steps,episode,reward,length,truncated,stats/highest_stage,actions/move,timestamp\n\
             10,1000,0,-0.5,7,true,2,4,1970-01-01T00:00:00Z\n10,1000,1,-0.5,7,true,2,4,1970-01-01T00:00:00Z\n"
        );
    }
}
