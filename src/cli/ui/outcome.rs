//! What the results of an evaluation by lives say: the numbers of each kind of agents, each with the interval of its mean over runs.

use serde_json::{Map, Value, json};

use crate::cli::survival::summary::{Group, Summary, capital};
use crate::envs::survival::Kind;
use crate::statistics::Moments;

/// A number of a kind of agents.
struct Measure {
    name: String,
    title: String,
    /// What the files of single runs call it.
    key: String,
    of: fn(&Group) -> f64,
}

/// The numbers that are shown, in their order.
fn measures(summary: &Summary) -> Vec<Measure> {
    let [good, bad] = [summary.survival.good.name, summary.survival.bad.name];
    let measure = |name: &str, title: &str, key: &str, of| Measure {
        name: name.into(),
        title: title.into(),
        key: key.into(),
        of,
    };
    let per_1k = |name: &str, of| {
        let title = format!("{} per 1000 steps", capital(name));
        measure(name, &title, &format!("{name}_per_1k_steps"), of)
    };
    let efficiency = |name, title, of| measure(name, title, name, of);
    vec![
        measure("survival", "Survival: mean steps of a life", "survival_mean", |group| group.survival),
        per_1k("deaths", |group| group.deaths),
        per_1k(good, |group| group.good),
        per_1k(bad, |group| group.bad),
        efficiency("per_agent_efficiency", "Efficiency: mean over lives", |group| group.efficiency),
        efficiency("overall_efficiency", "Efficiency: of all that was eaten", |group| {
            group.overall_efficiency
        }),
        per_1k("energy", |group| group.energy),
    ]
}

/// What results say, for people who look at them.
pub fn told(document: &Value, summary: &Summary) -> Value {
    let measures = measures(summary);
    let kind = |group: &Group| {
        let result = &document["results"][group.kind.name];
        let values = measures.iter().map(|measure| (measure.name.clone(), value(measure, group, result)));
        let seeds = &result["aggregates"]["seeds"];
        json!({
            "name": group.kind.name,
            "colours": colours(&group.kind),
            "seeds": if seeds.is_null() { json!([result["config"]["seed"]]) } else { seeds.clone() },
            "deaths": group.total_deaths,
            "lives": group.lives.survival.count,
            "steps": group.total_steps,
            "values": values.collect::<Map<_, _>>(),
        })
    };
    let title = |measure: &Measure| json!({ "name": measure.name, "title": measure.title });
    json!({
        "env": document["env"],
        "time": document["timestamp"],
        "measures": measures.iter().map(title).collect::<Vec<_>>(),
        "kinds": summary.kinds.iter().map(kind).collect::<Vec<_>>(),
        "pair": summary.pairs().next().map(|pair| pair.map(|group| group.kind.name)),
        "collapse_ratio": summary.collapse_ratio(),
        "energy_gap": summary.energy_gap(),
    })
}

/// A number of a kind, and the interval that the mean over its runs lies in, if there were several.
fn value(measure: &Measure, group: &Group, result: &Value) -> Value {
    let runs = result["runs"].as_array().into_iter().flatten();
    let over_runs = Moments::of(runs.filter_map(|run| run[&measure.key].as_f64()));
    let interval = (over_runs.count > 1).then(|| over_runs.interval());
    json!({
        "value": (measure.of)(group),
        "low": interval.map(|interval| interval.low),
        "high": interval.map(|interval| interval.high),
    })
}

/// In figures on a light and on a dark ground.
pub fn colours(kind: &Kind) -> Value {
    let written = |[red, green, blue]: [u8; 3]| format!("#{red:02x}{green:02x}{blue:02x}");
    json!({ "light": written(kind.light), "dark": written(kind.dark) })
}
