//! Forward passes and gradient steps.

use super::*;

/// Numbers in 32 bits against 64.
const TOLERANCE: f64 = 1e-5;
/// After several steps of Adam, which divides by small numbers.
const AFTER_ADAM: f64 = 1e-4;
/// By how much hidden biases are lower than in the golden data. There a unit's sum of decimals is 0, where relu passes no gradient; in
/// 32 bits it is a bit above or below, as the processor rounds. So it is below, by less than the tolerance.
const BELOW_ZERO: f32 = 1e-6;

/// A network of the golden data.
struct Known {
    estimator: Estimator,
    structure: QParams,
    tensors: Tensors,
}

impl Known {
    fn new(settings: QSettings, [rows, cols]: [usize; 2], target_q_clip: Option<f64>) -> Result<Known> {
        let spec = EnvSpec::new("golden", [2, rows, cols], cols);
        let network = QNetwork::new(settings.clone(), &spec)?;
        let structure = structure_of(|| network.init(Key::new(0)));
        let tensors = Tensors::new(&structure, &layers(&settings));
        Ok(Known { estimator: Estimator { network, num_actions: cols, target_q_clip }, structure, tensors })
    }
}

/// The layers in the order of the golden data.
fn layers(settings: &QSettings) -> Vec<Layer> {
    let own = usize::from(settings.dueling_dim > 0);
    let layer = |name: &str, path: String, channels| Layer { name: name.to_owned(), path, channels };
    let convolution = |i| layer(&format!("conv{}", i + 1), format!("conv.{i}"), 1);
    let mut layers: Vec<Layer> = (0..settings.conv.len()).map(convolution).collect();
    let channels = settings.conv.last().map_or(1, |conv| conv.filters);
    if settings.dueling {
        layers.push(layer("fc_shared", "hidden.0".into(), channels));
        for (hidden, name, part) in
            [("fc_value_hidden", "fc_value", "value"), ("fc_adv_hidden", "fc_advantage", "advantage")]
        {
            if own == 1 {
                layers.push(layer(hidden, format!("{part}.0"), 1));
            }
            layers.push(layer(name, format!("{part}.{own}"), 1));
        }
    } else {
        layers.push(layer("fc1", "hidden.0".into(), channels));
        layers.push(layer("fc2", "advantage.0".into(), 1));
    }
    layers
}

/// Transitions on the host.
struct Batch {
    obs: Vec<f32>,
    legal: Vec<bool>,
    action: Vec<i32>,
    reward: Vec<f32>,
    steps: Vec<i32>,
    next_obs: Vec<f32>,
    next_legal: Vec<bool>,
    weights: Vec<f32>,
}

/// What a gradient step takes.
struct Given {
    online: Float,
    target: Float,
    mean: Float,
    square: Float,
    count: Int,
    obs: Float,
    legal: Bool,
    action: Int,
    reward: Float,
    steps: Int,
    next_obs: Float,
    next_legal: Bool,
    weights: Float,
    gamma: Float,
    lr: Float,
    /// Whether the target follows at once, and whether it goes a part `tau` of the way.
    hard: Bool,
    soft: Bool,
    tau: Float,
}
crate::tree!(Given {
    online,
    target,
    mean,
    square,
    count,
    obs,
    legal,
    action,
    reward,
    steps,
    next_obs,
    next_legal,
    weights,
    gamma,
    lr,
    hard,
    soft,
    tau
});

/// What it gives.
struct Gives {
    online: Float,
    target: Float,
    mean: Float,
    square: Float,
    count: Int,
    gradient: Float,
    error: Float,
    targets: Float,
    losses: super::super::loss::Losses,
}
crate::tree!(Gives { online, target, mean, square, count, gradient, error, targets, losses });

/// A gradient step on `rows` transitions, with two networks if `twin`.
fn step_function(known: &Known, rows: usize, twin: bool, backend: &Backend) -> Result<HostFunction> {
    let networks = if twin { 2 } else { 1 };
    let (numbers, flags) = (
        |shape: &[usize]| Float::placeholder(DType::F32, shape),
        |shape: &[usize]| Bool::placeholder(DType::Bool, shape),
    );
    let ints = |shape: &[usize]| Int::placeholder(DType::I32, shape);
    let (all, actions) = ([networks * known.tensors.size()], known.estimator.num_actions);
    let obs = known.estimator.network.obs_size();
    let input = Given {
        online: numbers(&all),
        target: numbers(&all),
        mean: numbers(&all),
        square: numbers(&all),
        count: ints(&[]),
        obs: numbers(&[rows, obs]),
        legal: flags(&[rows, actions]),
        action: ints(&[rows]),
        reward: numbers(&[rows]),
        steps: ints(&[rows]),
        next_obs: numbers(&[rows, obs]),
        next_legal: flags(&[rows, actions]),
        weights: numbers(&[rows]),
        gamma: numbers(&[]),
        lr: numbers(&[]),
        hard: flags(&[]),
        soft: flags(&[]),
        tau: numbers(&[]),
    };
    let second = twin.then(|| known.structure.clone());
    let like = Networks { first: known.structure.clone(), second };
    HostFunction::new(backend, "gradient step", &input, |given| {
        let seen = |obs: Float, legal: Bool| Seen::of_parts(Features::Plain(obs), Some(legal));
        let batch = Experience {
            seen: seen(given.obs, given.legal),
            action: given.action,
            reward: given.reward,
            steps: given.steps.as_u8(),
            next: seen(given.next_obs, given.next_legal),
        };
        let [online, target] = [given.online, given.target].map(|vector| crate::lang::unravel(&like, vector));
        let estimator = &known.estimator;
        let targets = estimator.targets(given.gamma, &online, &target, &batch);
        let scale = Scale { gamma: given.gamma, huber_delta: float(1.0) };
        let (gradient, losses, error) =
            estimator.gradient(scale, &online, &target, &batch, Some(given.weights));
        let optimizer = super::super::Adam { mean: given.mean, square: given.square, count: given.count };
        let (after, optimizer, grad_norm) =
            super::super::descend(given.online, optimizer, gradient, given.lr, float(1.0));
        let target = follow(given.target, after, None, given.hard);
        let target = follow(target, after, Some(given.tau), given.soft);
        let losses = super::super::loss::Losses { grad_norm, ..losses };
        let super::super::Adam { mean, square, count } = optimizer;
        Gives { online: after, target, mean, square, count, gradient, error, targets, losses }
    })
}

/// A network on its way through gradient steps.
struct Trained {
    online: Vec<f32>,
    target: Vec<f32>,
    mean: Vec<f32>,
    square: Vec<f32>,
    count: i32,
}

impl Trained {
    fn new(online: Vec<f32>, target: Vec<f32>) -> Trained {
        let zeros = vec![0.0; online.len()];
        Trained { mean: zeros.clone(), square: zeros, online, target, count: 0 }
    }

    /// A gradient step; what it gives beside the networks, by name.
    fn step(
        &mut self,
        function: &HostFunction,
        batch: &Batch,
        config: &Config,
        sync: Option<&str>,
    ) -> Result<crate::lang::Outputs<HostArray>> {
        let rows = batch.action.len();
        let vector = |values: &Vec<f32>| HostArray::new(&[values.len()], values.clone());
        let numbers = |values: &Vec<f32>| HostArray::new(&[rows, values.len() / rows], values.clone());
        let flags = |values: &Vec<bool>| HostArray::new(&[rows, values.len() / rows], values.clone());
        let ints = |values: &Vec<i32>| HostArray::new(&[rows], values.clone());
        let inputs = [
            vector(&self.online),
            vector(&self.target),
            vector(&self.mean),
            vector(&self.square),
            HostArray::scalar(self.count),
            numbers(&batch.obs),
            flags(&batch.legal),
            ints(&batch.action),
            vector(&batch.reward),
            ints(&batch.steps),
            numbers(&batch.next_obs),
            flags(&batch.next_legal),
            vector(&batch.weights),
            HostArray::scalar(config.gamma as f32),
            HostArray::scalar(config.learning_rate as f32),
            HostArray::scalar(sync == Some("hard")),
            HostArray::scalar(sync == Some("soft")),
            HostArray::scalar(config.tau.unwrap_or(0.0) as f32),
        ];
        let mut found = function.call(&inputs)?;
        let mut take = |name: &str| found.take(name).as_slice::<f32>().to_vec();
        [self.online, self.target, self.mean, self.square] =
            ["online", "target", "mean", "square"].map(&mut take);
        self.count = found.take("count").as_slice::<i32>()[0];
        Ok(found)
    }
}

#[derive(Deserialize)]
struct Config {
    gamma: f64,
    n_step: i32,
    target_q_clip: Option<f64>,
    use_twin_q: bool,
    learning_rate: f64,
    tau: Option<f64>,
}

/// What both kinds of gradient steps expect.
#[derive(Deserialize)]
struct Expected {
    y: Vec<f64>,
    #[serde(default)]
    td_abs: Vec<f64>,
    loss: f64,
    grad_norm: f64,
    avg_q: Option<f64>,
    max_q: Option<f64>,
    min_q: Option<f64>,
    avg_target_q: Option<f64>,
    td_error: Option<f64>,
    gradient: BTreeMap<String, Value>,
    online: BTreeMap<String, Value>,
    #[serde(default)]
    target: BTreeMap<String, Value>,
    #[serde(default)]
    gradient_probes: Vec<(String, usize, f64)>,
    #[serde(default)]
    online_probes: Vec<(String, usize, f64)>,
}

impl Expected {
    /// Compares what a step told beside its parameters.
    fn told(&self, found: &mut crate::lang::Outputs<HostArray>, differs: &mut Differences) {
        let mut numbers = |name: &str| found.take(name).to_f64();
        differs.all_close("y", &numbers("targets"), &self.y, TOLERANCE);
        let error = numbers("error");
        if !self.td_abs.is_empty() {
            differs.all_close("td_abs", &error, &self.td_abs, TOLERANCE);
        }
        for (name, expected) in [
            ("loss", Some(self.loss)),
            ("grad_norm", Some(self.grad_norm)),
            ("q_mean", self.avg_q),
            ("q_max", self.max_q),
            ("q_min", self.min_q),
            ("target_mean", self.avg_target_q),
            ("td_error", self.td_error),
        ] {
            if let Some(expected) = expected {
                differs.close(name, numbers(&format!("losses.{name}"))[0], expected, TOLERANCE);
            }
        }
    }
}

#[derive(Deserialize)]
pub struct Case {
    name: String,
    config: Config,
    dueling: bool,
    online: BTreeMap<String, Value>,
    target: BTreeMap<String, Value>,
    online2: Option<BTreeMap<String, Value>>,
    target2: Option<BTreeMap<String, Value>>,
    steps: Vec<CaseStep>,
}

#[derive(Deserialize)]
struct CaseStep {
    batch: BTreeMap<String, Value>,
    learning_rate: f64,
    sync: Option<String>,
    expected: Expected,
}

/// A small network: dense layers of the given width only.
fn small(dueling: bool, hidden_dim: usize) -> QSettings {
    QSettings {
        conv: Vec::new(),
        conv_channels: Channels::First,
        hidden_dim,
        num_layers: 1,
        activation: Activation::Relu,
        dueling,
        dueling_dim: 0,
        init: Init::Uniform,
    }
}

pub fn learner(cases: Vec<Case>, backend: &Backend) -> Result<Compared> {
    let mut compared = Compared::new();
    for case in cases {
        let hidden_bias = if case.dueling { "fc_shared.bias" } else { "fc1.bias" };
        let hidden = case.online.get(hidden_bias).map_or(0, |bias| flat(bias).len());
        let known = Known::new(small(case.dueling, hidden), [2, 3], case.config.target_q_clip)?;
        // A second network of which nothing is said begins as the first one.
        let both = |first: &BTreeMap<String, Value>, second: &Option<BTreeMap<String, Value>>| {
            let stored = |tensors| {
                let mut vector = known.tensors.stored(tensors)?;
                known.tensors.shift(hidden_bias, &mut vector, -BELOW_ZERO)?;
                anyhow::Ok(vector)
            };
            let first = stored(first)?;
            let second = match (case.config.use_twin_q, second) {
                (false, _) => Vec::new(),
                (true, None) => first.clone(),
                (true, Some(second)) => stored(second)?,
            };
            anyhow::Ok([first, second].concat())
        };
        let (online, target) = (both(&case.online, &case.online2)?, both(&case.target, &case.target2)?);
        let mut trained = Trained::new(online, target);
        let rows = case.steps.first().map_or(0, |step| step.batch.get("action").map_or(0, |a| flat(a).len()));
        let function = step_function(&known, rows, case.config.use_twin_q, backend)?;
        for (i, step) in case.steps.iter().enumerate() {
            let numbers = |name: &str| -> Result<Vec<f64>> {
                Ok(flat(step.batch.get(name).with_context(|| format!("a batch has no {name}"))?))
            };
            let floats =
                |name: &str| Ok::<_, anyhow::Error>(numbers(name)?.iter().map(|x| *x as f32).collect());
            let flags = |name: &str| {
                Ok::<_, anyhow::Error>(numbers(name)?.iter().map(|x| *x != 0.0).collect::<Vec<_>>())
            };
            let done: Vec<bool> = flags("done")?;
            let batch = Batch {
                obs: floats("obs")?,
                legal: flags("legal")?,
                action: numbers("action")?.iter().map(|x| *x as i32).collect(),
                reward: floats("reward")?,
                steps: done.iter().map(|&done| if done { 0 } else { case.config.n_step }).collect(),
                next_obs: floats("next_obs")?,
                next_legal: flags("next_legal")?,
                weights: if step.batch.contains_key("weights") {
                    floats("weights")?
                } else {
                    vec![1.0; rows]
                },
            };
            let config = Config { learning_rate: step.learning_rate, ..case.config };
            let mut found = trained.step(&function, &batch, &config, step.sync.as_deref())?;
            let mut differs = Differences::default();
            step.expected.told(&mut found, &mut differs);
            let gradient = found.take("gradient").to_f64();
            let [online, target] = [&trained.online, &trained.target]
                .map(|vector| vector.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>());
            for (what, vector, tensors, tolerance) in [
                ("gradient", &gradient, &step.expected.gradient, TOLERANCE),
                ("online", &online, &step.expected.online, AFTER_ADAM),
                ("target", &target, &step.expected.target, AFTER_ADAM),
            ] {
                for (name, expected) in tensors {
                    differs.all_close(
                        &format!("{what} {name}"),
                        &known.tensors.of(name, vector)?,
                        &flat(expected),
                        tolerance,
                    );
                }
            }
            compared.push((format!("learner, {}, step {i}", case.name), differs.0));
        }
    }
    Ok(compared)
}

/// The network of the document.
fn large(dueling: bool) -> QSettings {
    let conv = [64, 128].map(ConvSpec::usual).to_vec();
    QSettings { conv, dueling_dim: 128, ..small(dueling, 256) }
}

#[derive(Deserialize)]
pub struct Forward {
    rows: usize,
    cols: usize,
    dueling: bool,
    positions: Vec<ForwardPosition>,
}

#[derive(Deserialize)]
struct ForwardPosition {
    moves: String,
    legal: Vec<bool>,
    q: Vec<f64>,
}

pub fn forward(cases: Vec<Forward>, backend: &Backend) -> Result<Compared> {
    let mut compared = Compared::new();
    for Forward { rows, cols, dueling, positions } in cases {
        let known = Known::new(large(dueling), [rows, cols], None)?;
        let count = positions.len();
        let input = (
            Float::placeholder(DType::F32, [known.tensors.size()]),
            Float::placeholder(DType::F32, [count, 2 * rows * cols]),
            Bool::placeholder(DType::Bool, [count, cols]),
        );
        let function = HostFunction::new(backend, "forward", &input, |(params, obs, legal)| {
            let params = crate::lang::unravel(&known.structure, params);
            known.estimator.network.values(&params, Features::Plain(obs), Some(legal))
        })?;
        let obs = positions.iter().map(|position| planes(&digits(&position.moves)?, rows, cols));
        let obs: Vec<f32> = obs.collect::<Result<Vec<_>>>()?.concat();
        let legal: Vec<bool> = positions.iter().flat_map(|position| position.legal.clone()).collect();
        let inputs = [
            HostArray::new(&[known.tensors.size()], known.tensors.by_formula(0, 1.0)),
            HostArray::new(&[count, 2 * rows * cols], obs),
            HostArray::new(&[count, cols], legal),
        ];
        let found = function.call(&inputs)?.into_named().remove(0).1.to_f64();
        for (position, found) in positions.iter().zip(found.chunks(cols)) {
            let mut differs = Differences::default();
            differs.all_close("q", found, &position.q, TOLERANCE);
            compared.push((format!("forward, {rows}x{cols}, after `{}`", position.moves), differs.0));
        }
    }
    Ok(compared)
}

fn digits(moves: &str) -> Result<Vec<usize>> {
    let digit =
        |c: char| c.to_digit(10).map(|digit| digit as usize).with_context(|| format!("`{c}` is no column"));
    moves.chars().map(digit).collect()
}

/// The stones of the player to move and of the other one, row by row from the top, after these moves of connect four.
fn planes(moves: &[usize], rows: usize, cols: usize) -> Result<Vec<f32>> {
    let mut planes = vec![0.0; 2 * rows * cols];
    let mut heights = vec![0; cols];
    for (i, &column) in moves.iter().enumerate() {
        ensure!(column < cols && heights[column] < rows, "{moves:?} cannot be played");
        let plane = (moves.len() - i) % 2; // the last stone is the other player's
        planes[plane * rows * cols + (rows - 1 - heights[column]) * cols + column] = 1.0;
        heights[column] += 1;
    }
    Ok(planes)
}

#[derive(Deserialize)]
pub struct Full {
    dueling: bool,
    config: Config,
    steps: Vec<FullStep>,
}

#[derive(Deserialize)]
struct FullStep {
    /// The moves of a game, whether the agent begins, which of its transitions, and the reward.
    transitions: Vec<(String, bool, usize, f32)>,
    sync: Option<String>,
    expected: Expected,
}

impl FullStep {
    fn batch(&self) -> Result<Batch> {
        let (rows, cols) = (6, 7);
        let mut batch = Batch {
            obs: vec![],
            legal: vec![],
            action: vec![],
            reward: vec![],
            steps: vec![],
            next_obs: vec![],
            next_legal: vec![],
            weights: vec![1.0; self.transitions.len()],
        };
        for (moves, agent_first, index, reward) in &self.transitions {
            let moves = digits(moves)?;
            let turn = usize::from(!agent_first) + 2 * index;
            let done = turn + 2 >= moves.len();
            let next = if done { &moves[..] } else { &moves[..turn + 2] };
            let action = moves.get(turn).context("a game of the golden data is too short")?;
            let legal = |moves: &[usize]| {
                (0..cols).map(|c| moves.iter().filter(|m| **m == c).count() < rows).collect::<Vec<_>>()
            };
            batch.obs.extend(planes(&moves[..turn], rows, cols)?);
            batch.legal.extend(legal(&moves[..turn]));
            batch.next_obs.extend(planes(next, rows, cols)?);
            batch.next_legal.extend(legal(next));
            batch.action.push(*action as i32);
            batch.reward.push(*reward);
            batch.steps.push(i32::from(!done));
        }
        Ok(batch)
    }
}

pub fn full(cases: Vec<Full>, backend: &Backend) -> Result<Compared> {
    let mut compared = Compared::new();
    for (number, Full { dueling, config, steps }) in cases.into_iter().enumerate() {
        let known = Known::new(large(dueling), [6, 7], config.target_q_clip)?;
        let mut trained = Trained::new(known.tensors.by_formula(0, 1.0), known.tensors.by_formula(100, 1.0));
        let rows = steps.first().map_or(0, |step| step.transitions.len());
        let function = step_function(&known, rows, false, backend)?;
        for (i, step) in steps.iter().enumerate() {
            let mut found = trained.step(&function, &step.batch()?, &config, step.sync.as_deref())?;
            let mut differs = Differences::default();
            step.expected.told(&mut found, &mut differs);
            let gradient = found.take("gradient").to_f64();
            let online: Vec<f64> = trained.online.iter().map(|x| f64::from(*x)).collect();
            for (what, vector, sums, probes) in [
                ("gradient", &gradient, &step.expected.gradient, &step.expected.gradient_probes),
                ("online", &online, &step.expected.online, &step.expected.online_probes),
            ] {
                for (name, expected) in sums {
                    let values = known.tensors.of(name, vector)?;
                    let norm = values.iter().map(|x| x * x).sum::<f64>().sqrt();
                    differs.all_close(
                        &format!("{what} {name}"),
                        &[values.iter().sum(), norm],
                        &flat(expected),
                        1e-3,
                    );
                }
                for (name, index, expected) in probes {
                    let found = known.tensors.of(name, vector)?[*index];
                    differs.close(&format!("{what} {name}[{index}]"), found, *expected, AFTER_ADAM);
                }
            }
            compared.push((format!("full network {number}, step {i}"), differs.0));
        }
    }
    Ok(compared)
}
