//! Advantages, PopArt, schedules.

use super::*;
use crate::algorithms::advantage::{gae, mean_and_unbiased_std};

#[derive(Deserialize)]
pub struct Advantages {
    gamma: f64,
    lambda: f64,
    rewards: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
    terminated: Vec<Vec<u8>>,
    next_value: Vec<f32>,
    expected: BTreeMap<String, Value>,
}

pub fn advantages(cases: Vec<Advantages>, backend: &Backend) -> Result<Compared> {
    let mut compared = Compared::new();
    for (i, case) in cases.into_iter().enumerate() {
        let shape = [case.rewards.len(), case.next_value.len()];
        let function = HostFunction::new(backend, "advantages", &(), |()| {
            let numbers = |rows: &[Vec<f32>]| -> Float { constant(rows.concat()).reshape(shape) };
            let done: Vec<bool> = case.terminated.concat().iter().map(|done| *done == 1).collect();
            let (advantages, returns) = gae(
                numbers(&case.rewards),
                numbers(&case.values),
                constant::<kind::Bool, bool>(done).reshape(shape),
                constant(&case.next_value),
                float(case.gamma),
                float(case.lambda),
            );
            let (mean, std) = mean_and_unbiased_std(advantages, 1);
            [advantages, returns, (advantages - mean) / (std + 1e-8)]
        })?;
        let found = function.call(&[])?.into_named();
        let mut differs = Differences::default();
        for ((_, found), name) in found.iter().zip(["advantages", "returns", "normalised"]) {
            let expected = case.expected.get(name).with_context(|| format!("gae expects no {name}"))?;
            differs.all_close(name, &found.to_f64(), &flat(expected), TOLERANCE);
        }
        compared.push((format!("advantages {i}"), differs.0));
    }
    Ok(compared)
}

#[derive(Deserialize)]
pub struct Rounds {
    name: String,
    beta_min: f64,
    rescale_weights: bool,
    learning_rate: f64,
    last_layer: BTreeMap<String, Value>,
    hidden: Vec<Vec<f32>>,
    rounds: Vec<Round>,
}

#[derive(Deserialize)]
struct Round {
    gradient: Option<BTreeMap<String, Value>>,
    returns: Vec<f32>,
    expected: AfterRound,
}

#[derive(Deserialize)]
struct AfterRound {
    count: f64,
    mean: f64,
    std: f64,
    weight: Value,
    bias: Value,
    values_before: Vec<f64>,
    values_after: Vec<f64>,
    first_moment: Vec<Value>,
    second_moment: Vec<Value>,
}

/// Everything on its way through the rounds: vectors of all parameters of a network whose last layer it is about.
struct Normalized {
    params: Float,
    mean: Float,
    square: Float,
    steps: Int,
    /// Denormalized, before and after.
    values: [Float; 2],
    popart: PopArt,
}
crate::tree!(Normalized { params, mean, square, steps, values, popart });

impl Rounds {
    /// A round: a step of Adam if it has a gradient, then statistics that follow `count` returns.
    fn function(
        &self,
        ppo: &Ppo,
        structure: &ActorCriticParams,
        has_gradient: bool,
        count: usize,
        backend: &Backend,
    ) -> Result<HostFunction> {
        let size = leaf_types(structure).iter().map(|array_type| array_type.size()).sum::<usize>();
        let numbers = |size: usize| Float::placeholder(DType::F32, [size]);
        let vectors = [(); 4].map(|()| numbers(size));
        let input = (vectors, Int::placeholder(DType::I32, []), numbers(count));
        HostFunction::new(backend, "popart", &input, |(vectors, steps, returns)| {
            let [params, mean, square, gradient] = vectors;
            let adam = Adam { mean, square, count: steps };
            let (params, adam) = match has_gradient {
                true => adam.step(&params, &gradient, float(self.learning_rate), float(1e-8)),
                false => (params, adam),
            };
            let [params, mean, square] = [params, adam.mean, adam.square].map(|x| unravel(structure, x));
            let adam = Adam { mean, square, count: adam.count };
            let hidden: Float = constant(self.hidden.concat()).reshape([self.hidden.len(), self.width()]);
            let values = |params: &ActorCriticParams| {
                let popart = params.popart.expect("it normalizes");
                popart.denormalize(params.critic[0].apply(hidden).squeeze(1))
            };
            let before = values(&params);
            let (params, adam) = popart::follow(&ppo.network, &ppo.settings, params, adam, returns, 1);
            Normalized {
                values: [before, values(&params)],
                popart: params.popart.expect("it normalizes"),
                params: ravel(&params),
                mean: ravel(&adam.mean),
                square: ravel(&adam.square),
                steps: adam.count,
            }
        })
    }

    /// Numbers that the last layer reads.
    fn width(&self) -> usize {
        self.hidden.first().map_or(0, Vec::len)
    }

    fn play(&self, backend: &Backend) -> Result<Compared> {
        let settings = Settings {
            hidden_dim: self.width(),
            popart_beta_min: self.beta_min,
            popart_rescale: self.rescale_weights,
            privileged_critic: false, // so that the critic is one layer behind the trunk
            ..Settings::default()
        };
        let ppo = ppo(settings, &[1], 1, 2)?;
        let structure = structure_of(|| ppo.network.init(Key::new(0)));
        let layers = [Layer { name: "fc".into(), path: "critic.0".into(), channels: 1 }];
        let tensors = Tensors::new(&structure, &layers);
        let mut params = tensors.stored(&self.last_layer)?;
        set_popart(&structure, &mut params, 0.0, 1.0);
        let zeros = || vec![0.0; params.len()];
        let (mut mean, mut square, mut steps) = (zeros(), zeros(), 0);
        let count = self.rounds.first().map_or(0, |round| round.returns.len());
        let function = |has_gradient| self.function(&ppo, &structure, has_gradient, count, backend);
        let (plain, with_gradient) = (function(false)?, function(true)?);
        let mut compared = Compared::new();
        for (i, Round { gradient, returns, expected }) in self.rounds.iter().enumerate() {
            let (function, gradient) = match gradient {
                Some(gradient) => (&with_gradient, tensors.stored(gradient)?),
                None => (&plain, vec![0.0; params.len()]),
            };
            let vectors = [&params, &mean, &square, &gradient].map(|values| vector(values));
            let given = vectors.into_iter().chain([HostArray::scalar(steps), vector(returns)]);
            let mut found = function.call(&given.collect::<Vec<_>>())?;
            let mut differs = Differences::default();
            let mut narrow = |name: &str| found.take(name).as_slice::<f32>().to_vec();
            [params, mean, square] = ["params", "mean", "square"].map(&mut narrow);
            expected.compare(&mut found, [&params, &mean, &square], &tensors, &mut differs)?;
            steps = found.take("steps").as_slice::<i32>()[0];
            compared.push((format!("popart, {}, round {i}", self.name), differs.0));
        }
        Ok(compared)
    }
}

impl AfterRound {
    fn compare(
        &self,
        found: &mut Outputs<HostArray>,
        [params, mean, square]: [&Vec<f32>; 3],
        tensors: &Tensors,
        differs: &mut Differences,
    ) -> Result<()> {
        for (name, expected) in [("count", self.count), ("mean", self.mean), ("std", self.std)] {
            differs.close(name, found.take(&format!("popart.{name}")).to_f64()[0], expected, TOLERANCE);
        }
        for (name, expected) in [("values.0", &self.values_before), ("values.1", &self.values_after)] {
            differs.all_close(name, &found.take(name).to_f64(), expected, TOLERANCE);
        }
        let layer = [self.weight.clone(), self.bias.clone()];
        for (what, vector, expected) in [
            ("layer", params, &layer[..]),
            ("first moment", mean, &self.first_moment),
            ("second moment", square, &self.second_moment),
        ] {
            let vector: Vec<f64> = vector.iter().map(|x| f64::from(*x)).collect();
            for (name, expected) in ["fc.weight", "fc.bias"].iter().zip(expected) {
                let (own, mut expected) = (tensors.of(name, &vector)?, flat(expected));
                // Before the first step of Adam the reference has no moments; here they are 0.
                if expected.is_empty() {
                    expected = vec![0.0; own.len()];
                }
                differs.all_close(&format!("{what} {name}"), &own, &expected, TOLERANCE);
            }
        }
        Ok(())
    }
}

pub fn popart(cases: Vec<Rounds>, backend: &Backend) -> Result<Compared> {
    let compared = cases.iter().map(|case| case.play(backend));
    Ok(compared.collect::<Result<Vec<_>>>()?.concat())
}

#[derive(Deserialize)]
pub struct Schedules {
    config: Config,
    q: Vec<f64>,
    expected: Vec<Scheduled>,
}

#[derive(Deserialize)]
struct Config {
    learning_rate: f64,
    lr_final: f64,
    eps_clip: f64,
    eps_clip_final: f64,
    entropy_initial: f64,
    entropy_final: f64,
    entropy_decay_fraction: f64,
    entropy_floor: f64,
}

#[derive(Deserialize)]
struct Scheduled {
    lr: f64,
    eps_clip: f64,
    entropy_coef: f64,
    entropy_floor: f64,
}

pub fn schedules(cases: Vec<Schedules>, backend: &Backend) -> Result<Compared> {
    let mut compared = Compared::new();
    for (i, Schedules { config, q, expected }) in cases.into_iter().enumerate() {
        let settings = Settings {
            lr: config.learning_rate,
            lr_final: Some(config.lr_final),
            clip_eps: config.eps_clip,
            clip_eps_final: Some(config.eps_clip_final),
            ent_coef: config.entropy_initial,
            ent_coef_final: Some(config.entropy_final),
            ent_decay_fraction: config.entropy_decay_fraction,
            entropy_floor: Some(config.entropy_floor),
            ..Settings::default()
        };
        settings.check()?;
        let function = HostFunction::new(backend, "schedules", &(), |()| {
            let at = |&share: &f64| {
                // The first update of so many is the one after which this share is done.
                let inputs = Inputs { total_updates: float(1.0 / share), ..inputs(&settings) };
                let Hyper { lr, clip_eps, ent_coef, floor, .. } = settings.scheduled(&inputs);
                [lr, clip_eps, ent_coef, floor.expect("there is one").entropy]
            };
            q.iter().map(at).collect::<Vec<_>>()
        })?;
        let found = function.call(&[])?.into_named();
        let mut differs = Differences::default();
        for ((found, share), expected) in found.chunks(4).zip(&q).zip(&expected) {
            let Scheduled { lr, eps_clip, entropy_coef, entropy_floor } = expected;
            let names = ["lr", "clip", "entropy coefficient", "entropy floor"];
            let expected = [lr, eps_clip, entropy_coef, entropy_floor];
            for (((_, found), name), expected) in found.iter().zip(names).zip(expected) {
                differs.close(&format!("{name} at {share}"), found.to_f64()[0], *expected, 1e-6);
            }
        }
        compared.push((format!("schedules {i}"), differs.0));
    }
    Ok(compared)
}
