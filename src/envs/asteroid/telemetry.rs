//! What windows and replays say of a journey, by the names that the reference's server and pages read.

use serde_json::{Map, Value, json};

use crate::envs::telemetry::{Shown, Telemetry, Told};

/// The reference's metrics, by its names; they are those of the step, as running values of the episode.
pub const METRICS: [&str; 13] = [
    "credits",
    "net_profit",
    "profit_per_tick",
    "survival",
    "overheat_ticks",
    "pirate_encounters",
    "value_lost_to_pirates",
    "fuel_used",
    "hull_damage",
    "tool_wear",
    "scan_count",
    "mining_ticks",
    "cargo_utilization_avg",
];

pub const TELEMETRY: Telemetry = Telemetry {
    window: Some(&[
        ("invalid_action_rate", "stats/invalid_actions"),
        ("profit_mean", "stats/net_profit"),
        ("survival_rate", "stats/survival"),
        ("credits_mean", "stats/credits"),
        ("net_profit_mean", "stats/net_profit"),
        ("profit_per_tick_mean", "stats/profit_per_tick"),
        ("survival_mean", "stats/survival"),
        ("overheat_ticks_mean", "stats/overheat_ticks"),
        ("pirate_encounters_mean", "stats/pirate_encounters"),
        ("value_lost_to_pirates_mean", "stats/value_lost_to_pirates"),
        ("fuel_used_mean", "stats/fuel_used"),
        ("hull_damage_mean", "stats/hull_damage"),
        ("tool_wear_mean", "stats/tool_wear"),
        ("scan_count_mean", "stats/scan_count"),
        ("mining_ticks_mean", "stats/mining_ticks"),
        ("cargo_utilization_avg_mean", "stats/cargo_utilization_avg"),
    ]),
    outcome: &[("profit", "stats/net_profit"), ("survival", "stats/survival")],
    frame,
    session: Some("time_max"),
};

fn metric(told: &Told, name: &str) -> f64 {
    told.metric(&format!("stats/{name}"))
}

fn frame(told: &Told) -> Shown {
    let at_station = told.after.number("site.node") == 0.0;
    let shared = [
        ("time_remaining", json!(told.after.number("ship.time_remaining"))),
        ("node_context", json!(if at_station { "station" } else { "field" })),
    ];
    let shown = ["credits", "net_profit", "survival", "cargo_utilization_avg"];
    let number = |name: &&str| ((*name).to_owned(), json!(metric(told, name)));
    let invalid = metric(told, "invalid_actions") > 0.0;
    let happened = [
        ("invalid_action", invalid),
        ("pirate_encounter", told.growth("stats/pirate_encounters") > 0.0),
        ("overheat_tick", told.growth("stats/overheat_ticks") > 0.0),
    ];
    let shared: Map<String, Value> = shared.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let mut info: Map<String, Value> = METRICS.iter().map(number).collect();
    for (key, value) in [
        ("action", json!(told.action)),
        ("dt", json!(told.ticks)),
        ("invalid_action", json!(invalid)),
        ("terminated", json!(told.terminated)),
        ("truncated", json!(told.truncated)),
    ] {
        info.insert(key.to_owned(), value);
    }
    info.extend(shared.clone());
    Shown {
        state: shown.iter().map(number).chain(shared).collect(),
        events: happened.into_iter().filter(|(_, is_so)| *is_so).map(|(event, _)| event).collect(),
        info,
    }
}
