//! Schedules, returns over several steps, priorities, the replay, choices.

use super::*;
use crate::algorithms::replay::{Priorities, Ring, importance_weights};
use crate::algorithms::schedule::crossed;

const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
pub struct Schedules {
    epsilon: Vec<Epsilon>,
    learning_rate: Vec<Rate>,
    target_sync: Vec<Sync>,
}

#[derive(Deserialize)]
struct Epsilon {
    start: f64,
    decay: f64,
    min: f64,
    at: Vec<u64>,
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct Rate {
    start: f64,
    interval_steps: usize,
    decay_factor: f64,
    min_lr: Option<f64>,
    at: Vec<u64>,
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct Sync {
    batch_size: u64,
    target_update_freq: u64,
    steps: u64,
    synced_at: Vec<u64>,
}

/// A function of each of some counts.
fn of_counts(backend: &Backend, counts: &[u64], function: impl Fn(Int) -> Float) -> Result<Vec<f64>> {
    let function = HostFunction::new(backend, "schedule", &(), |()| {
        vmap(constant::<kind::Int, u64>(counts), |count: Int| function(count))
    })?;
    Ok(function.call(&[])?.into_named().remove(0).1.to_f64())
}

pub fn schedules(known: Schedules, backend: &Backend) -> Result<Compared> {
    let mut compared = Compared::new();
    for (i, case) in known.epsilon.into_iter().enumerate() {
        let settings = Settings {
            epsilon: case.start,
            epsilon_decay: case.decay,
            epsilon_min: case.min,
            ..Settings::default()
        };
        let found = of_counts(backend, &case.at, |steps| {
            settings.epsilon_after(&settings.hyper(), steps, int_u64(0))
        })?;
        let mut differs = Differences::default();
        differs.all_close("epsilon", &found, &case.values, TOLERANCE);
        compared.push((format!("schedule of epsilon {i}"), differs.0));
    }
    for (i, case) in known.learning_rate.into_iter().enumerate() {
        let settings = Settings {
            lr: case.start,
            lr_decay: case.decay_factor,
            lr_decay_interval: case.interval_steps,
            lr_min: case.min_lr.unwrap_or(0.0),
            ..Settings::default()
        };
        let found = of_counts(backend, &case.at, |steps| settings.lr_after(&settings.hyper(), steps))?;
        let mut differs = Differences::default();
        differs.all_close("learning rate", &found, &case.values, TOLERANCE);
        compared.push((format!("schedule of the learning rate {i}"), differs.0));
    }
    for (i, case) in known.target_sync.into_iter().enumerate() {
        let steps: Vec<u64> = (1..=case.steps).collect();
        let found = of_counts(backend, &steps, |step| {
            let due = crossed(step - 1, step, case.target_update_freq).gt(0);
            (due & step.ge(case.batch_size)).as_f32()
        })?;
        let found = steps.iter().zip(found).filter(|(_, due)| *due == 1.0).map(|(step, _)| *step as f64);
        let expected: Vec<f64> = case.synced_at.iter().map(|step| *step as f64).collect();
        let mut differs = Differences::default();
        differs.all_close("synced at", &found.collect::<Vec<_>>(), &expected, 0.0);
        compared.push((format!("schedule of the target {i}"), differs.0));
    }
    Ok(compared)
}

#[derive(Deserialize)]
pub struct Returns {
    n: usize,
    gamma: f64,
    rewards: Vec<f32>,
    done: Vec<bool>,
    /// At which step, of which first step, the return, the last step, whether the episode was over then.
    pushes: Vec<(f64, f64, f64, f64, u8)>,
}

impl Returns {
    /// What is pushed in one environment: at which step, of which first step, the return, the number of steps or 0.
    fn pushed(&self, backend: &Backend) -> Result<Vec<[f64; 4]>> {
        let spec = EnvSpec::new("golden", [1], 2);
        let function = HostFunction::new(backend, "returns", &(), |()| {
            let steps = Steps { n: self.n, gamma: float(self.gamma), spec: &spec };
            let seen = |time: Float| Seen::of_parts(Features::Plain(time.fill(&[1, 1])), None);
            let pending = steps.begin(&seen(float(0.0)));
            let times = arange(self.rewards.len()).as_f32();
            let (rewards, done) = (&self.rewards, &self.done);
            let xs = (times, constant::<kind::Float, f32>(rewards), constant::<kind::Bool, bool>(done));
            let (_, told) = scan(pending, xs, |pending, (time, reward, done)| {
                let done = done.fill(&[1]);
                let step = Step {
                    seen: seen(time),
                    action: Int::full([1], 1),
                    reward: reward.fill(&[1]),
                    done,
                    terminated: done,
                    next: seen(time + 1.0),
                };
                let (pending, rows, chosen) = steps.complete(pending, step);
                let chosen = chosen.unwrap_or(Bool::full([1], true)).as_f32();
                let [first, next] = [rows.seen, rows.next].map(|seen| seen.obs.numbers().flatten());
                (pending, [chosen, next - 1.0, first, rows.reward, rows.steps.as_f32()])
            });
            told
        })?;
        let found: Vec<Vec<f64>> =
            function.call(&[])?.into_named().iter().map(|(_, values)| values.to_f64()).collect();
        let rows = (0..found[0].len()).filter(|&row| found[0][row] == 1.0);
        Ok(rows.map(|row| [1, 2, 3, 4].map(|part| found[part][row])).collect())
    }
}

pub fn n_step(cases: Vec<Returns>, backend: &Backend) -> Result<Compared> {
    let mut compared = Compared::new();
    for (i, case) in cases.into_iter().enumerate() {
        let mut differs = Differences::default();
        let found = case.pushed(backend)?;
        differs.same("pushes", found.len() as f64, case.pushes.len() as f64);
        for ([step, first, sum, steps], (at, from, expected, last, done)) in found.iter().zip(&case.pushes) {
            differs.same("pushed at", *step, *at);
            differs.same("first step", *first, *from);
            differs.same("last step", *step, *last);
            differs.close("return", *sum, *expected, TOLERANCE);
            differs.same("steps, 0 if done", *steps, if *done == 1 { 0.0 } else { last - from + 1.0 });
        }
        compared.push((format!("returns over {} steps {i}", case.n), differs.0));
    }
    Ok(compared)
}

#[derive(Deserialize)]
pub struct Prioritized {
    capacity: usize,
    alpha: f64,
    beta_start: f64,
    beta_frames: usize,
    eps: f64,
    events: Vec<Event>,
    priorities: Vec<f64>,
}

/// A list that begins with the name of the event; the lists differ in length.
#[derive(Deserialize)]
#[serde(untagged)]
#[allow(dead_code)] // the names are read, not used
enum Event {
    Sample(Named, f64, Vec<f64>, Vec<i32>, Vec<f64>),
    Update(Named, Vec<i32>, Vec<f32>),
    Push([Named; 1]),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Named {
    Push,
    Sample,
    Update,
}

pub fn prioritized(cases: Vec<Prioritized>, backend: &Backend) -> Result<Compared> {
    let mut compared = Compared::new();
    for (i, case) in cases.into_iter().enumerate() {
        let found = case.play(backend)?;
        let mut differs = Differences::default();
        let mut found = found.iter();
        let mut next = || found.next().cloned().unwrap_or_default();
        for event in &case.events {
            if let Event::Sample(_, beta, probabilities, _, weights) = event {
                differs.all_close("beta", &next(), &[*beta], TOLERANCE);
                differs.all_close("probabilities", &next()[..probabilities.len()], probabilities, 1e-5);
                differs.all_close("weights", &next(), weights, 1e-5);
            }
        }
        differs.all_close("priorities", &next()[..case.priorities.len()], &case.priorities, TOLERANCE);
        compared.push((format!("prioritized replay {i}"), differs.0));
    }
    Ok(compared)
}

impl Prioritized {
    /// Of each draw beta, all probabilities and the weights of the drawn rows; in the end all priorities.
    fn play(&self, backend: &Backend) -> Result<Vec<Vec<f64>>> {
        let settings = Settings {
            per_beta_start: self.beta_start,
            per_beta_frames: self.beta_frames,
            per_eps: self.eps,
            ..Settings::default()
        };
        let function = HostFunction::new(backend, "priorities", &(), |()| {
            let (alpha, hyper) = (float(self.alpha), settings.hyper());
            let mut ring = Ring::new(Int::full([self.capacity], 0));
            let mut all = Priorities::new(self.capacity);
            let (mut told, mut draws) = (Vec::new(), int_u64(0));
            for event in &self.events {
                match event {
                    Event::Push(_) => {
                        let (pushed, places) = ring.push(&Int::full([1], 0), self.capacity, 1);
                        all = all.with(places, all.of_new().fill(&[1]), alpha);
                        ring = pushed;
                    }
                    Event::Sample(_, _, _, slots, _) => {
                        let beta = settings.beta(&hyper, draws);
                        let drawn = all.probabilities(constant(slots), alpha);
                        let every = all.probabilities(arange(self.capacity), alpha);
                        told.extend([beta, every, importance_weights(drawn, ring.size, beta)]);
                        draws = draws + 1;
                    }
                    Event::Update(_, slots, errors) => {
                        let errors: Float = constant(errors);
                        all = all.with(constant(slots), errors + settings.per_eps, alpha);
                    }
                }
            }
            told.push(all.flat());
            told
        })?;
        Ok(function.call(&[])?.into_named().iter().map(|(_, values)| values.to_f64()).collect())
    }
}

#[derive(Deserialize)]
pub struct Content {
    capacity: usize,
    pushes: usize,
    content: Vec<f64>,
}

pub fn ring(cases: Vec<Content>, backend: &Backend) -> Result<Compared> {
    let mut compared = Compared::new();
    for (i, Content { capacity, pushes, content }) in cases.into_iter().enumerate() {
        let function = HostFunction::new(backend, "ring", &(), |()| {
            let (ring, ()) = scan(Ring::new(Int::full([capacity], -1)), arange(pushes), |ring, row| {
                (ring.push(&row.fill(&[1]), capacity, 1).0, ())
            });
            // The oldest row first.
            let first = ring.next - ring.size + capacity as i32;
            (ring.rows.take((first + arange(capacity)) % capacity, 0), ring.size)
        })?;
        let found: Vec<Vec<f64>> =
            function.call(&[])?.into_named().iter().map(|(_, values)| values.to_f64()).collect();
        let mut differs = Differences::default();
        differs.all_close("content", &found[0][..found[1][0] as usize], &content, 0.0);
        compared.push((format!("replay {i}"), differs.0));
    }
    Ok(compared)
}

#[derive(Deserialize)]
pub struct Greedy {
    q: Vec<f32>,
    legal: Vec<bool>,
    action: f64,
}

pub fn greedy_actions(cases: Vec<Greedy>, backend: &Backend) -> Result<Compared> {
    let mut compared = Compared::new();
    for (i, Greedy { q, legal, action }) in cases.into_iter().enumerate() {
        let function = HostFunction::new(backend, "greedy", &(), |()| {
            let (q, legal): (Float, Bool) = (constant(&q), constant(&legal));
            greedy(q.expand_dims(0), Some(legal.expand_dims(0)))
        })?;
        let found = function.call(&[])?.into_named().remove(0).1.to_f64()[0];
        let mut differs = Differences::default();
        differs.same("action", found, action);
        compared.push((format!("greedy choice {i}"), differs.0));
    }
    Ok(compared)
}
