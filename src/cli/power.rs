//! `lockstep power`: how many samples it takes to see an effect, and how likely given ones show it.

use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::json;

use crate::config::usage;
use crate::statistics::power::{Demand, achieved, steps};

use super::table::table;
use super::{print, print_line};

/// An effect, and what is asked of a test for it.
#[derive(Debug, Args)]
struct Power {
    /// The effect: the difference of the two means in standard deviations (Cohen's d)
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    effect_size: f64,
    /// Probability to see an effect where there is none
    #[arg(long, value_name = "P", default_value_t = 0.05, allow_negative_numbers = true)]
    alpha: f64,
    /// Probability to see the effect that there is
    #[arg(long, value_name = "P", default_value_t = 0.8, allow_negative_numbers = true)]
    power: f64,
    /// Sizes are those of a test in one direction
    #[arg(long)]
    one_sided: bool,
    /// Samples of the first group, for the power that the groups have
    #[arg(long, value_name = "N", requires = "n_b")]
    n_a: Option<u64>,
    /// Samples of the second group
    #[arg(long, value_name = "N", requires = "n_a")]
    n_b: Option<u64>,
    /// Deaths per 1000 steps, where a sample is a death: says how many steps give the samples
    #[arg(long, value_name = "N", default_value_t = 3.0, allow_negative_numbers = true)]
    deaths_per_1k: f64,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

pub fn command() -> Command {
    Power::augment_args(Command::new("power"))
        .about("Power of a comparison of two groups, and sample sizes for an effect")
}

/// Computes and prints.
///
/// # Errors
/// One line: a number out of range.
pub fn run(matches: &ArgMatches) -> Result<()> {
    let Power { effect_size, alpha, power, one_sided, n_a, n_b, deaths_per_1k, json: as_json } =
        Power::from_arg_matches(matches)?;
    let demand = Demand { alpha, power, one_sided };
    let size = demand.sample_size(effect_size).map_err(usage)?;
    let duration = steps(size, deaths_per_1k).map_err(usage)?;
    let groups = n_a.zip(n_b).map(|(a, b)| [a, b]);
    let found = groups.map(|sizes| achieved(effect_size, sizes, alpha)).transpose().map_err(usage)?;
    let smallest = groups.map(|[a, b]| demand.detectable(a.min(b) as f64)).transpose().map_err(usage)?;
    if as_json {
        return print_line(json!({
            "effect_size": effect_size, "alpha": alpha, "power": power, "one_sided": one_sided,
            "samples_per_group": size, "steps_per_group": duration,
            "achieved_power": found, "detectable_effect": smallest.filter(|effect| effect.is_finite()),
        }));
    }
    let mut rows = vec![
        vec!["samples per group".to_owned(), format!("{size}")],
        vec!["steps per group".to_owned(), format!("{duration:.0}")],
    ];
    rows.extend(found.map(|power| vec!["power of these groups".to_owned(), format!("{power:.4}")]));
    rows.extend(
        smallest.map(|effect| vec!["smallest effect that they show".to_owned(), format!("{effect:.3}")]),
    );
    let title = format!("effect {effect_size}, alpha {alpha}, power {power}");
    print(&table(&[&title, ">"], &rows))
}
