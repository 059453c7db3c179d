//! Forward passes and gradient steps.

use super::*;
use crate::algorithms::advantage::explained_variance;
use crate::algorithms::optimizer::clip_parts_by_norm;
use crate::lang::iota;
use crate::nn::{self, Convs, Dense};

/// A network of the golden data.
struct Known {
    ppo: Ppo,
    structure: ActorCriticParams,
    tensors: Tensors,
    /// Numbers of an observation, and of a privileged one.
    sizes: [usize; 2],
}

impl Known {
    fn new(settings: Settings, obs_shape: &[usize], privileged: usize) -> Result<Known> {
        let layer = |(name, path, channels): (String, String, usize)| Layer { name, path, channels };
        let channels = settings.conv.0.last().map_or(1, |conv| conv.filters);
        let convolutions =
            (0..settings.conv.0.len()).map(|i| (format!("conv{}", i + 1), format!("conv.{i}"), 1));
        let dense = [
            ("fc1", "trunk.0", channels),
            ("fc_out", "actor.0", 1),
            ("head.aux_combine.0", "critic.0", 1),
            ("head.fc", "critic.1", 1),
        ];
        let dense = dense.map(|(name, path, channels)| (name.to_owned(), path.to_owned(), channels));
        let layers: Vec<Layer> = convolutions.chain(dense).map(layer).collect();
        let ppo = ppo(settings, obs_shape, privileged, ACTIONS)?;
        let structure = structure_of(|| ppo.network.init(Key::new(0)));
        let tensors = Tensors::new(&structure, &layers);
        Ok(Known { ppo, structure, tensors, sizes: [obs_shape.iter().product(), privileged] })
    }

    /// A view of such observations.
    fn view(&self, obs: Float, privileged: Float) -> View {
        View { obs: Features::Plain(obs), mask: None, privileged: Some(privileged), to_move: None }
    }
}

const ACTIONS: usize = 8;

/// The layers of the critic have names of their own in the golden data.
fn of_both(policy: &BTreeMap<String, Value>, head: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let head = head.iter().map(|(name, value)| (format!("head.{name}"), value.clone()));
    policy.iter().map(|(name, value)| (name.clone(), value.clone())).chain(head).collect()
}

#[derive(Deserialize)]
struct Rates {
    learning_rate: f64,
    eps_clip: f64,
    entropy_coef: f64,
    value_coef: f64,
    max_grad_norm: f64,
    entropy_floor: f64,
    entropy_floor_penalty: f64,
}

impl Rates {
    fn settings(&self) -> Settings {
        Settings {
            lr: self.learning_rate,
            clip_eps: self.eps_clip,
            ent_coef: self.entropy_coef,
            vf_coef: 2.0 * self.value_coef, // the value loss is half the mean square here
            max_grad_norm: self.max_grad_norm,
            entropy_floor: Some(self.entropy_floor),
            entropy_floor_penalty: self.entropy_floor_penalty,
            ..Settings::default()
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
struct Statistics {
    mean: f64,
    std: f64,
}

#[derive(Deserialize)]
struct Data {
    action: Vec<i32>,
    logp: Vec<f32>,
    #[serde(rename = "return")]
    returns: Vec<f32>,
    advantage: Vec<f32>,
    value: Vec<f32>,
    #[serde(default)]
    obs: Vec<Value>,
    #[serde(default)]
    aux: Vec<Vec<f32>>,
}

impl Data {
    /// As samples; values and returns are as the network is taught them.
    fn sample(&self, known: &Known, obs: &[f32], aux: &[f32], popart: &PopArt) -> Sample {
        let rows = self.action.len();
        let numbers = |values: &[f32], size: usize| -> Float { constant(values).reshape([rows, size]) };
        Sample {
            view: known.view(numbers(obs, known.sizes[0]), numbers(aux, known.sizes[1])),
            action: constant(&self.action),
            log_prob: constant(&self.logp),
            value: popart.normalize(constant(&self.value)),
            advantage: constant(&self.advantage),
            target: popart.normalize(constant(&self.returns)),
            memory: None,
        }
    }
}

#[derive(Deserialize)]
struct ExpectedStep {
    policy_loss: f64,
    value_loss: f64,
    value_loss_clipped: f64,
    entropy: f64,
    penalty: f64,
    loss: f64,
    grad_norm_policy: f64,
    grad_norm_head: f64,
}

/// A gradient step, on vectors of all parameters.
struct Stepped {
    params: Float,
    mean: Float,
    square: Float,
    count: Int,
    losses: Losses,
    total: Float,
    /// Of policy and head, before they are clipped.
    norms: [Float; 2],
}
crate::tree!(Stepped { params, mean, square, count, losses, total, norms });

/// Gradient steps on a batch: parameters, and what to learn from.
struct Batch<'a> {
    known: &'a Known,
    data: &'a Data,
    obs: Vec<f32>,
    aux: Vec<f32>,
    rows: usize,
}

impl Batch<'_> {
    /// A gradient step on `rows` of the batch.
    fn function(&self, backend: &Backend) -> Result<HostFunction> {
        let Known { ppo, structure, tensors, .. } = self.known;
        let vectors = [(); 3].map(|()| Float::placeholder(DType::F32, [tensors.size()]));
        let ints = |shape: &[usize]| Int::placeholder(DType::I32, shape);
        let input = (vectors, ints(&[]), ints(&[self.rows]));
        HostFunction::new(backend, "gradient step", &input, |([params, mean, square], count, chosen)| {
            let popart = unravel(structure, params).popart.expect("the network normalizes its values");
            let samples = self.data.sample(self.known, &self.obs, &self.aux, &popart);
            let inputs = inputs(&ppo.settings);
            let (hyper, as_given) = (inputs.hyper, (float(0.0), float(1.0)));
            let sides = Sides::guess(&ppo.settings);
            let (losses, gradient, _) = ppo.gradient(
                &inputs,
                &hyper,
                &unravel(structure, params),
                (&samples, chosen),
                as_given,
                sides,
            );
            let (_, norms) = clip_parts_by_norm(gradient, &ppo.parts(structure), hyper.max_grad_norm);
            let learned = Learned { params, optimizer: Adam { mean, square, count } };
            let ((Learned { params, optimizer }, _), _) =
                ppo.descend(&inputs, &hyper, structure, (learned, sides), (&samples, chosen), as_given);
            let losses = unravel(&no_losses(&ppo.settings), losses);
            let Adam { mean, square, count } = optimizer;
            Stepped { params, mean, square, count, total: total_loss(&hyper, &losses), losses, norms }
        })
    }

    /// The steps over the rows of `permutations`, and the parameters after them.
    fn compare(
        &self,
        name: &str,
        params: Vec<f32>,
        permutations: &[Vec<i32>],
        expected: &[ExpectedStep],
        backend: &Backend,
    ) -> Result<(Compared, Vec<f64>)> {
        let function = self.function(backend)?;
        let zeros = vec![0.0; params.len()];
        let (mut params, mut mean, mut square, mut count) = (params, zeros.clone(), zeros, 0);
        let mut compared = Compared::new();
        let minibatches = permutations.iter().flat_map(|order| order.chunks_exact(self.rows));
        for (i, (chosen, expected)) in minibatches.zip(expected).enumerate() {
            let chosen = HostArray::new(&[chosen.len()], chosen.to_vec());
            let vectors = [&params, &mean, &square].map(|values| vector(values));
            let given: Vec<_> = vectors.into_iter().chain([HostArray::scalar(count), chosen]).collect();
            let mut found = function.call(&given)?;
            let mut differs = Differences::default();
            expected.compare(self.known, &mut found, &mut differs);
            let mut take = |name: &str| found.take(name).as_slice::<f32>().to_vec();
            [params, mean, square] = ["params", "mean", "square"].map(&mut take);
            count = found.take("count").as_slice::<i32>()[0];
            compared.push((format!("{name}, step {i}"), differs.0));
        }
        Ok((compared, params.into_iter().map(f64::from).collect()))
    }
}

impl ExpectedStep {
    fn compare(&self, known: &Known, found: &mut Outputs<HostArray>, differs: &mut Differences) {
        let mut number = |name: &str| found.take(name).to_f64()[0];
        let entropy = number("losses.entropy");
        let Settings { entropy_floor, entropy_floor_penalty, .. } = known.ppo.settings;
        let missing = entropy_floor.map_or(0.0, |floor| (floor - entropy).max(0.0));
        for (name, found, expected) in [
            ("policy loss", number("losses.pg_loss"), self.policy_loss),
            ("value loss", 2.0 * number("losses.vf_loss"), self.value_loss),
            ("clipped value loss", 2.0 * number("losses.clipped_vf_loss"), self.value_loss_clipped),
            ("entropy", entropy, self.entropy),
            ("penalty", entropy_floor_penalty * missing, self.penalty),
            ("loss", number("total"), self.loss),
            ("norm of the policy's gradient", number("norms.0"), self.grad_norm_policy),
            ("norm of the head's gradient", number("norms.1"), self.grad_norm_head),
        ] {
            differs.close(name, found, expected, TOLERANCE);
        }
    }
}

/// How much of the variance of the returns the old values explain, on the last minibatch.
fn explained(data: &Data, last: &[i32], backend: &Backend) -> Result<f64> {
    let function = HostFunction::new(backend, "explained variance", &(), |()| {
        let of = |values: &[f32]| -> Float {
            constant(last.iter().map(|&row| values[row as usize]).collect::<Vec<f32>>())
        };
        explained_variance(of(&data.returns), of(&data.value), 1)
    })?;
    Ok(function.call(&[])?.into_named().remove(0).1.to_f64()[0])
}

#[derive(Deserialize)]
pub struct Case {
    name: String,
    settings: Rates,
    n_minibatches: usize,
    policy: BTreeMap<String, Value>,
    head: BTreeMap<String, Value>,
    popart: Statistics,
    permutations: Vec<Vec<i32>>,
    data: Data,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    steps: Vec<ExpectedStep>,
    explained_variance: f64,
    policy: BTreeMap<String, Value>,
    head: BTreeMap<String, Value>,
}

pub fn gradient_steps(cases: Vec<Case>, backend: &Backend) -> Result<Compared> {
    let mut compared = Compared::new();
    for case in cases {
        let Case { name, data, expected, popart, permutations, .. } = &case;
        let width = case.policy.get("fc1.bias").map_or(0, |bias| flat(bias).len());
        let obs: Vec<f32> = data.obs.iter().flat_map(flat).map(|x| x as f32).collect();
        let sizes = [obs.len(), data.aux.concat().len()].map(|size| size / data.action.len());
        let settings = Settings { hidden_dim: width, ..case.settings.settings() };
        let known = Known::new(settings, &[sizes[0]], sizes[1])?;
        let mut params = known.tensors.stored(&of_both(&case.policy, &case.head))?;
        set_popart(&known.structure, &mut params, popart.mean, popart.std);
        let rows = data.action.len() / case.n_minibatches;
        let batch = Batch { known: &known, data, obs, aux: data.aux.concat(), rows };
        let name = format!("gradient steps, {name}");
        let (steps, params) = batch.compare(&name, params, permutations, &expected.steps, backend)?;
        compared.extend(steps);
        let mut differs = Differences::default();
        for (tensor, expected) in of_both(&expected.policy, &expected.head) {
            differs.all_close(&tensor, &known.tensors.of(&tensor, &params)?, &flat(&expected), AFTER_ADAM);
        }
        let last = permutations.iter().flat_map(|order| order.chunks_exact(rows)).next_back();
        let last = last.context("there is a gradient step")?;
        let found = explained(data, last, backend)?;
        differs.close("explained variance", found, expected.explained_variance, TOLERANCE);
        compared.push((format!("{name}, in the end"), differs.0));
    }
    Ok(compared)
}

/// Rows and columns of a window.
const VIEW: usize = 11;

/// Of a window: the places with food and with poison.
type Window = [Vec<usize>; 2];

/// Two channels of a window, with these numbers at food and at poison.
fn channels([food, poison]: &Window, [at_food, at_poison]: [[f32; 2]; 2]) -> Result<Vec<f32>> {
    let mut channels = vec![0.0; 2 * VIEW * VIEW];
    for (places, numbers) in [(food, at_food), (poison, at_poison)] {
        for &place in places {
            for (channel, number) in numbers.into_iter().enumerate() {
                let cell = channels.get_mut(channel * VIEW * VIEW + place).filter(|_| place < VIEW * VIEW);
                *cell.with_context(|| format!("{place} is no place of a window"))? = number;
            }
        }
    }
    Ok(channels)
}

/// What is where.
const TRUE: [[f32; 2]; 2] = [[1.0, 0.0], [0.0, 1.0]];
/// How interesting it is.
const INTEREST: [[f32; 2]; 2] = [[1.0, 1.0], [0.5, 0.5]];
/// The same in whole numbers.
const TRUNCATED: [[f32; 2]; 2] = [[1.0, 1.0], [0.0, 0.0]];

fn observations(views: &[Window], encoding: [[f32; 2]; 2]) -> Result<Vec<f32>> {
    let of_all = views.iter().map(|view| channels(view, encoding));
    Ok(of_all.collect::<Result<Vec<_>>>()?.concat())
}

/// Privileged observations: the densities, then what is where.
fn privileged(views: &[Window], density: &[[f32; 2]]) -> Result<Vec<f32>> {
    let of_one =
        |(view, density): (&Window, &[f32; 2])| Ok([density.to_vec(), channels(view, TRUE)?].concat());
    Ok(views.iter().zip(density).map(of_one).collect::<Result<Vec<_>>>()?.concat())
}

/// The network of the document.
fn large(settings: Settings) -> Result<Known> {
    let conv = Convs([32, 64, 64].map(ConvSpec::usual).to_vec());
    Known::new(Settings { conv, hidden_dim: 512, ..settings }, &[2, VIEW, VIEW], 2 + 2 * VIEW * VIEW)
}

#[derive(Deserialize)]
pub struct Forward {
    scale: f64,
    popart: Statistics,
    views: Vec<Window>,
    density: Vec<[f32; 2]>,
    expected: Vec<BTreeMap<String, Outcome>>,
}

#[derive(Deserialize)]
struct Outcome {
    logits: Vec<f64>,
    entropy: f64,
    value_normalised: f64,
    value: f64,
    feature_sum: f64,
    feature_norm: f64,
}

/// What the network makes of views.
struct Seen {
    logits: Float,
    entropy: Float,
    value_normalised: Float,
    value: Float,
    features: Float,
}
crate::tree!(Seen { logits, entropy, value_normalised, value, features });

pub fn forward(cases: Vec<Forward>, backend: &Backend) -> Result<Compared> {
    let mut compared = Compared::new();
    let known = large(Settings::default())?;
    for Forward { scale, popart, views, density, expected } in cases {
        let (rows, size) = (views.len(), known.tensors.size());
        let numbers = |shape: &[usize]| Float::placeholder(DType::F32, shape);
        let input = (numbers(&[size]), numbers(&[rows, known.sizes[0]]), numbers(&[rows, known.sizes[1]]));
        let function = HostFunction::new(backend, "forward", &input, |(params, obs, privileged)| {
            let params = unravel(&known.structure, params);
            let (network, view) = (&known.ppo.network, known.view(obs, privileged));
            let (_, nn::Outputs { logits, value }) = network.apply(&params, Leaves::default(), &view, None);
            let (_, _, denormalized) = network.act(&params, Leaves::default(), &view);
            // An actor that hands on what it reads.
            let features = params.actor[0].kernel.shape()[0];
            let places = || iota(DType::I32, [features, features], 0);
            let kernel = places().eq(iota(DType::I32, [features, features], 1)).as_f32();
            let seeing = ActorCriticParams {
                actor: vec![Dense { kernel, bias: Float::full([features], 0.0) }],
                ..params
            };
            let (_, nn::Outputs { logits: features, .. }) =
                network.apply(&seeing, Leaves::default(), &view, None);
            Seen {
                logits,
                entropy: Categorical::new(logits, None).entropy(),
                value_normalised: value,
                value: denormalized.expect("the view has what the critic reads"),
                features,
            }
        })?;
        let mut params = known.tensors.by_formula(0, scale);
        set_popart(&known.structure, &mut params, popart.mean, popart.std);
        for (encoding, numbers) in
            [("true", TRUE), ("interestingness", INTEREST), ("uint8_compat", TRUNCATED)]
        {
            let rows_of = |values: Vec<f32>| HostArray::new(&[rows, values.len() / rows], values);
            let given = [
                vector(&params),
                rows_of(observations(&views, numbers)?),
                rows_of(privileged(&views, &density)?),
            ];
            let mut found = function.call(&given)?;
            let mut take = |name: &str| {
                let values = found.take(name).to_f64();
                let size = values.len() / rows;
                values.chunks(size).map(<[f64]>::to_vec).collect::<Vec<_>>()
            };
            let [logits, entropy, normalized, value, features] =
                ["logits", "entropy", "value_normalised", "value", "features"].map(&mut take);
            for (row, expected) in expected.iter().enumerate() {
                let expected = expected.get(encoding).context("an encoding is missing")?;
                let mut differs = Differences::default();
                differs.all_close("logits", &logits[row], &expected.logits, TOLERANCE);
                let norm = features[row].iter().map(|x| x * x).sum::<f64>().sqrt();
                for (name, found, expected) in [
                    ("entropy", entropy[row][0], expected.entropy),
                    ("normalized value", normalized[row][0], expected.value_normalised),
                    ("value", value[row][0], expected.value),
                    ("sum of the features", features[row].iter().sum(), expected.feature_sum),
                    ("norm of the features", norm, expected.feature_norm),
                ] {
                    differs.close(name, found, expected, TOLERANCE);
                }
                compared.push((format!("forward, {encoding}, view {row}"), differs.0));
            }
        }
    }
    Ok(compared)
}

#[derive(Deserialize)]
pub struct Full {
    scale: f64,
    popart: Statistics,
    views: Vec<Window>,
    density: Vec<[f32; 2]>,
    settings: Rates,
    n_minibatches: usize,
    permutations: Vec<Vec<i32>>,
    data: Data,
    expected: ExpectedFull,
}

#[derive(Deserialize)]
struct ExpectedFull {
    steps: Vec<ExpectedStep>,
    explained_variance: f64,
    tensors: BTreeMap<String, [f64; 2]>,
    probes: Vec<(String, usize, f64)>,
}

pub fn full(cases: Vec<Full>, backend: &Backend) -> Result<Compared> {
    let mut compared = Compared::new();
    for case in cases {
        let Full { data, popart, permutations, expected, .. } = &case;
        let known = large(case.settings.settings())?;
        let mut params = known.tensors.by_formula(0, case.scale);
        set_popart(&known.structure, &mut params, popart.mean, popart.std);
        let batch = Batch {
            known: &known,
            data,
            obs: observations(&case.views, TRUE)?,
            aux: privileged(&case.views, &case.density)?,
            rows: data.action.len() / case.n_minibatches,
        };
        let (steps, params) =
            batch.compare("full network", params, permutations, &expected.steps, backend)?;
        compared.extend(steps);
        let mut differs = Differences::default();
        for (name, expected) in &expected.tensors {
            let values = known.tensors.of(name, &params)?;
            let norm = values.iter().map(|x| x * x).sum::<f64>().sqrt();
            differs.all_close(name, &[values.iter().sum(), norm], expected, 1e-3);
        }
        for (name, index, expected) in &expected.probes {
            let values = known.tensors.of(name, &params)?;
            let found = *values.get(*index).with_context(|| format!("{name} has no number {index}"))?;
            differs.close(&format!("{name}[{index}]"), found, *expected, AFTER_ADAM);
        }
        let last = permutations.last().context("there is an epoch")?;
        let found = explained(data, last, backend)?;
        differs.close("explained variance", found, expected.explained_variance, TOLERANCE);
        compared.push(("full network, in the end".into(), differs.0));
    }
    Ok(compared)
}
