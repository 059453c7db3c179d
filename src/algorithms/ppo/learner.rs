//! One PPO agent, as the trainer sees it. With several devices each holds its share of the environments and a copy of
//! the rest.

use anyhow::{Context, Result, ensure};

use crate::algorithms::curriculum;
use crate::algorithms::evaluation::{Episode, Evaluator, Plan};
use crate::algorithms::policy::{Choice, Policy};
use crate::algorithms::{Learner, Metric, NamedArrays};
use crate::array::{ArrayType, DType, HostArray};
use crate::envs::{AnyEnv, EnvSpec};
use crate::lang::{Leaves, leaf_paths, trace, traced_for};
use crate::lower::{self, lower};
use crate::runtime::{Arg, Buffer, Client, CompileOptions};

use super::engine::{Agents, Engine, Facts, Start, Timing, hyper_structure, trace_init};
use super::{Course, Hyper, Ppo, State};

/// PPO on the devices of a client.
pub struct PpoLearner {
    engine: Engine,
    facts: Facts,
    evaluator: Option<Evaluator>,
}

impl PpoLearner {
    /// Traces and compiles the programs and makes the first state.
    pub fn new(client: &Client, start: &Start) -> Result<PpoLearner> {
        let (engine, facts) = Engine::new(client, start, Agents::One)?;
        Ok(PpoLearner { engine, facts, evaluator: None })
    }

    /// What the next update will compute on its way. The state stays as it is; `start` is that of the learner.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn course(&self, start: &Start) -> Result<NamedArrays> {
        let Start { settings, env, num_devices, .. } = *start;
        let ppo = Ppo { settings, env, num_devices };
        let env_params = curriculum::inputs(env, settings.schedule().as_ref())?;
        let env_params = Leaves::placeholders(&env_params);
        let init = trace_init(&ppo, &env_params, &ArrayType::new(DType::U32, [2]));
        let course = traced_for(self.engine.client.kind(), || {
            trace(
                &(init.output, hyper_structure(), env_params),
                |(state, hyper, params): (State, Hyper, Leaves)| ppo.update(&hyper, &params, state).2,
            )
        });
        let options = lower::Options {
            num_replicas: num_devices,
            precision: settings.precision,
            kernels: self.engine.client.has_kernels(),
            ..Default::default()
        };
        let text = lower(&course.graph, &options);
        let options = CompileOptions { num_replicas: start.num_devices, ..Default::default() };
        let program =
            self.engine.client.compile(&text, &options).context("compiling the program `course`")?;
        let borrowed = self.engine.state.iter().zip(&self.engine.inputs);
        let args = borrowed.map(|(state, inputs)| state.iter().chain(inputs).map(Arg::Borrow).collect());
        let outputs = program.run_replicas(args.collect()).context("running the program `course`")?;
        let fetch = |(leaf, name): (usize, String)| {
            let part = |device: &Vec<Buffer>| device[leaf].to_host();
            let array = match Course::environment_axis(&name) {
                None => part(&outputs[0])?,
                Some(axis) => {
                    HostArray::concatenate(axis, &outputs.iter().map(part).collect::<Result<Vec<_>, _>>()?)
                }
            };
            Ok((name, array))
        };
        leaf_paths(&course.output).into_iter().enumerate().map(fetch).collect()
    }

    /// Compiles what [`Learner::evaluate`] runs: `episodes` episodes in `env`, the learner's environment.
    ///
    /// # Errors
    /// Whatever the compiler or the device reports.
    pub fn prepare_evaluation(&mut self, env: &dyn AnyEnv, choice: Choice, episodes: usize) -> Result<()> {
        let policy = Policy::of_network(self.params()?, self.facts.activation, choice, &self.facts.spec)?;
        self.evaluator = Some(Evaluator::new(&self.engine.client, env, &policy, episodes)?);
        Ok(())
    }

    pub fn timing(&self) -> Timing {
        self.facts.timing
    }

    fn fetch_all(&self, wanted: impl Fn(&str) -> bool) -> Result<NamedArrays> {
        let mut arrays = NamedArrays::new();
        for (i, leaf) in self.engine.leaves.iter().enumerate() {
            if wanted(&leaf.name) {
                arrays.push((leaf.name.clone(), self.engine.fetch(i)?));
            }
        }
        Ok(arrays)
    }
}

impl Learner for PpoLearner {
    fn metrics(&self) -> &[Metric] {
        &self.facts.metrics
    }

    fn max_updates(&self) -> usize {
        self.facts.max_updates
    }

    fn timesteps_per_update(&self) -> u64 {
        self.facts.timesteps_per_update
    }

    fn run(&mut self, updates: usize) -> Result<Vec<Vec<f32>>> {
        let Facts { max_updates, ref metrics, .. } = self.facts;
        ensure!((1..=max_updates).contains(&updates), "a chunk of {updates} updates");
        let tables = self.engine.run(updates)?;
        let rows = tables[0].as_slice::<f32>().chunks(metrics.len());
        Ok(rows.take(updates).map(<[f32]>::to_vec).collect())
    }

    fn state(&self) -> Result<NamedArrays> {
        self.fetch_all(|_| true)
    }

    fn load_state(&mut self, state: &[(String, HostArray)]) -> Result<()> {
        self.engine.load(state)
    }

    fn state_types(&self) -> Vec<(String, ArrayType)> {
        self.engine.types()
    }

    fn params(&self) -> Result<NamedArrays> {
        self.fetch_all(|name| name.starts_with("params."))
    }

    fn params_metadata(&self) -> Vec<(String, String)> {
        self.facts.metadata.clone()
    }

    fn updates_to_phase_end(&self, update: u64) -> u64 {
        self.facts.updates_to_phase_end(update)
    }

    fn phase(&self, update: u64) -> Result<Option<usize>> {
        self.facts.phase(update, |wanted| self.fetch_all(|name| name == wanted))
    }

    fn device_memory(&self) -> Option<u64> {
        self.engine.client.memory_in_use(0)
    }

    fn spec(&self) -> &EnvSpec {
        &self.facts.spec
    }

    fn evaluate(&self, plan: &Plan) -> Result<Vec<Episode>> {
        let evaluator = self.evaluator.as_ref().context("the evaluation was not prepared")?;
        let leaves = self.engine.leaves.iter().zip(&self.engine.state[0]);
        let params: Vec<&Buffer> =
            leaves.filter(|(leaf, _)| leaf.name.starts_with("params.")).map(|(_, buffer)| buffer).collect();
        evaluator.run_with(&params, plan)
    }
}
