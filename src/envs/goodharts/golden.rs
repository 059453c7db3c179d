//! Records of the reference, compared with the compiled world: single steps, whole lives, and what the scripted players choose.
//!
//! `jax_env_spec/goodharts/README.md` describes the file. Where an eaten item comes back is left to chance: the step checks that the
//! place is allowed, and puts the item where the record has it before it compares the rest.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use strum::IntoEnumIterator;

use crate::array::HostArray;
use crate::envs::entry::{Open, Replay};
use crate::envs::golden::{self, Tally};
use crate::envs::{Env, Observation};
use crate::lang::{Backend, Bool, Float, HostFunction, Int, Key, Outputs, boolean, vmap_last};

use super::grid::{Grid, VIEW};
use super::scripted::Scripted;
use super::{Goodharts, Items, Life, Mode, Params, State, statistics};

#[derive(Deserialize)]
struct Record {
    id: usize,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Kind {
    Step(Box<Transition>),
    Life(Course),
    OmniscientSeeker(Choice),
    ProxySeeker(Choice),
}

/// One step.
#[derive(Default, Deserialize)]
struct Transition {
    w: usize,
    h: usize,
    food: Vec<usize>,
    poison: Vec<usize>,
    x: i32,
    y: i32,
    energy: f32,
    steps: i32,
    eaten: [i32; 2],
    last: [i32; 3],
    frozen: u8,
    max_steps: i32,
    nominal: [i32; 2],
    range: [i32; 4],
    action: i32,
    moved: [i32; 2],
    ate: u8,
    cleared: Option<usize>,
    respawned: Option<usize>,
    energy_end: f32,
    terminated: u8,
    truncated: u8,
    after: After,
    view_before: [Vec<usize>; 2],
    view: [Vec<usize>; 2],
    density: [f32; 2],
    potential: [f32; 2],
    reward: BTreeMap<String, f32>,
    dense: Option<Dense>,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct After {
    x: i32,
    y: i32,
    energy: f32,
    steps: i32,
    eaten: [i32; 2],
    last: [i32; 3],
}

#[derive(Deserialize)]
struct Dense {
    r#true: Vec<f32>,
    interestingness: Vec<f32>,
    aux: Vec<f32>,
}

/// A life in an empty world.
#[derive(Deserialize)]
struct Course {
    energy: f32,
    frozen: u8,
    length: usize,
    terminated: u8,
    truncated: u8,
    energies: Vec<f32>,
}

/// What a scripted player chooses: each action with the probability `num[action] / den`.
#[derive(Deserialize)]
struct Choice {
    view: [Vec<usize>; 2],
    num: Vec<u32>,
    den: u32,
}

/// Records that are played at once.
const WIDTH: usize = 256;
/// Sides of the empty world in which lives are lived, and steps until they are cut off.
const EMPTY: usize = 16;
const LIMIT: i32 = 512;

/// Reads a file of golden data.
///
/// # Errors
/// One line for a malformed file.
pub fn open(file: &Path, open: Open) -> Result<Replay> {
    if let Some(replay) = statistics::open(file, open)? {
        return Ok(replay);
    }
    let records: Vec<Record> = golden::read_lines(file)?;
    let backend = open()?;
    Ok(Box::new(move |seeds, out| verify(records, &backend, seeds as u64, out)))
}

/// Compares records with the compiled world.
fn verify(records: Vec<Record>, backend: &Backend, seeds: u64, out: &mut dyn Write) -> Result<usize> {
    let (mut steps, mut lives, mut choices) = (BTreeMap::new(), Vec::new(), Vec::new());
    for Record { id, kind } in records {
        match kind {
            Kind::Step(step) => steps.entry((step.w, step.h)).or_insert_with(Vec::new).push((id, *step)),
            Kind::Life(life) => lives.push((id, life)),
            Kind::OmniscientSeeker(choice) => choices.push((id, Scripted::OmniscientSeeker, choice)),
            Kind::ProxySeeker(choice) => choices.push((id, Scripted::ProxySeeker, choice)),
        }
    }
    let mut tally = Tally::new(out);
    for ((w, h), steps) in steps {
        let world = Goodharts::new(w, h).map_err(|error| anyhow!("record {}: {error}", steps[0].0))?;
        let program = Program::new(world, WIDTH.min(steps.len()), backend)?;
        for steps in steps.chunks(program.width) {
            program.check_steps(steps, seeds, &mut tally)?;
        }
    }
    if !lives.is_empty() {
        let world = Goodharts::new(EMPTY, EMPTY).expect("it is large enough");
        Program::new(world, lives.len(), backend)?.check_lives(&lives, &mut tally)?;
    }
    for choices in choices.chunks(WIDTH) {
        check_choices(choices, backend, &mut tally)?;
    }
    tally.finish()
}

/// A step and what is compared.
struct Asked {
    state: State,
    frozen: Bool,
    /// i32
    max_steps: Int,
    /// i32\[4\]: least and most food, least and most poison.
    range: Int,
    action: Int,
    /// u32\[2\]
    key: Int,
    /// The items after the step in the record.
    expected: Items,
}
crate::tree!(Asked { state, frozen, max_steps, range, action, key, expected });

struct Told {
    /// After the step, with items where it put them.
    state: State,
    terminated: Bool,
    truncated: Bool,
    /// The first state of the next life of an agent that stays where it is.
    next: State,
    /// With items where the record has them: f32\[modes\], the observations of both kinds, the privileged one, and both potentials.
    rewards: Float,
    sees_kinds: Float,
    sees_interest: Float,
    privileged: Float,
    potentials: Float,
    view_before: Float,
}
crate::tree!(Told {
    state,
    terminated,
    truncated,
    next,
    rewards,
    sees_kinds,
    sees_interest,
    privileged,
    potentials,
    view_before
});

fn tell(world: Goodharts, asked: Asked) -> Told {
    let Asked { state, frozen, max_steps, range, action, key, expected } = asked;
    let [min_food, max_food, min_poison, max_poison] = range.unstack();
    let params = |mode: Mode| Params {
        frozen,
        max_steps,
        min_food,
        max_food,
        min_poison,
        max_poison,
        regenerate_grid_on_done: boolean(false),
        relocate: boolean(false),
        ..world.with_mode(mode).default_params()
    };
    let truth = params(Mode::GroundTruth);
    let (moved, eaten) = world.walk(&truth, Key::from_words(key), state, action);
    let known = State { items: expected, ..moved };
    let steps: Vec<_> = Mode::iter().map(|mode| world.judge(&params(mode), known, eaten)).collect();
    let observe = |mode: Mode| world.observe(&params(mode), &known);
    let Observation { actor: sees_kinds, privileged } = observe(Mode::GroundTruth);
    let rewards: Vec<Float> = steps.iter().map(|step| step.reward).collect();
    let scale = super::layout().rewards.potential;
    let potentials = [eaten.in_sight, world.food_in_sight(&known)].map(|food| super::potential(food) * scale);
    Told {
        state: moved,
        terminated: steps[0].terminated,
        truncated: steps[0].truncated.expect("lives are cut off"),
        next: world.restart(&truth, Key::new(0), known),
        rewards: crate::lang::stack(rewards),
        sees_kinds,
        sees_interest: observe(Mode::Proxy).actor,
        privileged: privileged.expect("the critic sees more"),
        potentials: crate::lang::stack(potentials),
        view_before: crate::lang::stack(world.view(&state)),
    }
}

/// What happened in one of the worlds, by name.
struct Lane<'a> {
    told: &'a BTreeMap<String, Vec<f64>>,
    lane: usize,
    width: usize,
}

impl Lane<'_> {
    fn all(&self, name: &str) -> Vec<f64> {
        self.told[name].iter().skip(self.lane).step_by(self.width).copied().collect()
    }

    fn one(&self, name: &str) -> f64 {
        self.all(name)[0]
    }

    fn bits(&self, name: &str) -> Vec<u32> {
        self.all(name).into_iter().map(|word| word as u32).collect()
    }

    /// Place, energy and both lives of an agent.
    fn agent(&self, state: &str) -> Vec<f64> {
        let names = ["x", "y", "energy", "life.steps", "life.food", "life.poison"];
        let last = ["last_life.food", "last_life.poison", "last_life.steps"];
        names.iter().chain(&last).map(|name| self.one(&format!("{state}.{name}"))).collect()
    }
}

/// Steps of worlds of one size, for so many at once.
struct Program {
    grid: Grid,
    width: usize,
    step: HostFunction,
}

impl Program {
    fn new(world: Goodharts, width: usize, backend: &Backend) -> Result<Program> {
        use crate::array::DType::{Bool as B, F32, I32, U32};
        let grid = world.grid;
        let number = || Int::placeholder(I32, [width]);
        let life = || Life { steps: number(), food: number(), poison: number() };
        let items = || {
            let bits = || Int::placeholder(U32, [grid.len(), width]);
            Items { food: bits(), poison: bits() }
        };
        let state = State {
            items: items(),
            food_count: number(),
            poison_count: number(),
            x: number(),
            y: number(),
            energy: Float::placeholder(F32, [width]),
            life: life(),
            last_life: life(),
        };
        let asked = Asked {
            state,
            frozen: Bool::placeholder(B, [width]),
            max_steps: number(),
            range: Int::placeholder(I32, [4, width]),
            action: number(),
            key: Int::placeholder(U32, [2, width]),
            expected: items(),
        };
        let step =
            HostFunction::new(backend, "step", &asked, |asked| vmap_last(asked, |asked| tell(world, asked)))?;
        Ok(Program { grid, width, step })
    }

    /// Steps every record once, with the random numbers of `seed`.
    fn play<'a>(
        &self,
        asked: impl Iterator<Item = (&'a Transition, [&'a [usize]; 2])>,
        seed: u64,
    ) -> Result<BTreeMap<String, Vec<f64>>> {
        let asked: Vec<_> = asked.collect();
        let steps = || asked.iter().map(|(step, _)| *step);
        let words = |of: &dyn Fn(usize) -> Vec<u32>| self.columns((0..asked.len()).map(of));
        let ints = |of: &dyn Fn(&Transition) -> Vec<i32>| self.columns(steps().map(of));
        let scalar = |of: &dyn Fn(&Transition) -> i32| self.column(steps().map(of));
        let bits = |cells: &[usize]| self.grid.bits(cells.iter().copied());
        let inputs = [
            words(&|i| bits(&asked[i].0.food)),
            words(&|i| bits(&asked[i].0.poison)),
            scalar(&|step| step.nominal[0]),
            scalar(&|step| step.nominal[1]),
            scalar(&|step| step.x),
            scalar(&|step| step.y),
            self.column(steps().map(|step| step.energy)),
            scalar(&|step| step.steps),
            scalar(&|step| step.eaten[0]),
            scalar(&|step| step.eaten[1]),
            scalar(&|step| step.last[2]),
            scalar(&|step| step.last[0]),
            scalar(&|step| step.last[1]),
            self.column(steps().map(|step| step.frozen == 1)),
            scalar(&|step| step.max_steps),
            ints(&|step| step.range.to_vec()),
            scalar(&|step| step.action),
            words(&|i| vec![seed as u32, i as u32]),
            words(&|i| bits(asked[i].1[0])),
            words(&|i| bits(asked[i].1[1])),
        ];
        let told: Outputs<HostArray> = self.step.call(&inputs).context("stepping the records")?;
        Ok(told.into_named().into_iter().map(|(name, value)| (name, value.to_f64())).collect())
    }

    /// One value for each world, and zeros up to the width.
    fn column<T: crate::array::Element + Default>(&self, values: impl Iterator<Item = T>) -> HostArray {
        let mut values: Vec<T> = values.collect();
        values.resize(self.width, T::default());
        HostArray::new(&[self.width], values)
    }

    /// As many values for each world.
    fn columns<T: crate::array::Element + Default + Copy>(
        &self,
        values: impl Iterator<Item = Vec<T>>,
    ) -> HostArray {
        let values: Vec<Vec<T>> = values.collect();
        let rows = values[0].len();
        let row = |i: usize| (0..self.width).map(move |lane| (i, lane));
        let value = |(i, lane): (usize, usize)| values.get(lane).map_or(T::default(), |column| column[i]);
        HostArray::new(&[rows, self.width], (0..rows).flat_map(row).map(value).collect::<Vec<T>>())
    }

    /// Plays each step with several seeds, which differ in where an item comes back.
    fn check_steps(&self, steps: &[(usize, Transition)], seeds: u64, tally: &mut Tally) -> Result<()> {
        let after: Vec<[Vec<usize>; 2]> = steps.iter().map(|(_, step)| items_after(step)).collect();
        let mut found = vec![Vec::new(); steps.len()];
        for seed in 0..seeds {
            let asked =
                steps.iter().zip(&after).map(|((_, step), after)| (step, [&after[0][..], &after[1][..]]));
            let told = self.play(asked, seed)?;
            for (lane, ((_, step), found)) in steps.iter().zip(&mut found).enumerate() {
                let lane = Lane { told: &told, lane, width: self.width };
                if found.is_empty() {
                    *found = self.differences(step, &lane);
                }
            }
        }
        for ((id, _), differences) in steps.iter().zip(&found) {
            tally.add(&format!("record {id}"), differences)?;
        }
        Ok(())
    }

    fn differences(&self, step: &Transition, lane: &Lane) -> Vec<String> {
        let mut found = golden::Differences::default();
        let numbers = |values: &[f64]| values.to_vec();
        found.compare("terminated", lane.one("terminated"), f64::from(step.terminated));
        found.compare("truncated", lane.one("truncated"), f64::from(step.truncated));
        found.compare("energy_end", lane.one("state.energy"), f64::from(step.energy_end));
        let moved = [lane.one("state.x"), lane.one("state.y")];
        found.compare("moved", moved, step.moved.map(f64::from));
        let eaten =
            [1, 2].map(|kind| f64::from(step.eaten[kind - 1] + i32::from(usize::from(step.ate) == kind)));
        found.compare("eaten", [lane.one("state.life.food"), lane.one("state.life.poison")], eaten);
        let done = step.terminated == 1 || step.truncated == 1;
        let agent = lane.agent(if done { "next" } else { "state" });
        let After { x, y, energy, steps, eaten, last } = step.after;
        let counts = [steps, eaten[0], eaten[1], last[0], last[1], last[2]].map(f64::from);
        let known = [&[f64::from(x), f64::from(y), f64::from(energy)][..], &counts].concat();
        found.compare("after", agent, known);
        self.compare_items(&mut found, step, lane);
        let close = |found: &mut golden::Differences, what: &str, got: f64, known: f32| {
            found.close(what, got as f32, known);
        };
        for (reward, name) in lane.all("rewards").into_iter().zip(Mode::iter().map(Mode::name)) {
            close(&mut found, name, reward, step.reward[name]);
        }
        for (i, potential) in lane.all("potentials").into_iter().enumerate() {
            close(&mut found, "potential", potential, step.potential[i]);
        }
        let privileged = lane.all("privileged");
        for (density, known) in privileged.iter().zip(step.density) {
            close(&mut found, "density", *density, known);
        }
        found.compare("view_before", seen(&lane.all("view_before")), step.view_before.clone());
        found.compare("view", seen(&lane.all("sees_kinds")), step.view.clone());
        if let Some(dense) = &step.dense {
            let known = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<f64>>();
            found.compare("dense true", lane.all("sees_kinds"), known(&dense.r#true));
            found.compare("dense interestingness", lane.all("sees_interest"), known(&dense.interestingness));
            found.compare("aux view", numbers(&privileged[2..]), known(&dense.aux[2..]));
        }
        found.0
    }

    /// Where items lie after the step: what was eaten is gone, and one of its kind lies on a cell that was free, if there was one.
    fn compare_items(&self, found: &mut golden::Differences, step: &Transition, lane: &Lane) {
        let agent = step.moved[1] as usize * self.grid.width + step.moved[0] as usize;
        let taken = [&step.food[..], &step.poison[..], &[agent]].concat();
        for (i, (name, before)) in [("food", &step.food), ("poison", &step.poison)].into_iter().enumerate() {
            let bits = lane.bits(&format!("state.items.{name}"));
            let holds = |cell: usize| self.grid.has(&bits, cell % self.grid.width, cell / self.grid.width);
            let items: Vec<usize> = (0..self.grid.size()).filter(|&cell| holds(cell)).collect();
            found.compare("copies of cells", &bits, &self.grid.bits(items.iter().copied()));
            let ate = usize::from(step.ate) == i + 1;
            let gone = |cell: &usize| !(ate && Some(*cell) == step.cleared);
            let kept: Vec<usize> = before.iter().copied().filter(gone).collect();
            let new: Vec<usize> = items.iter().copied().filter(|cell| !kept.contains(cell)).collect();
            found.compare("items that stayed", items.len() - new.len(), kept.len());
            let room = (0..self.grid.size()).any(|cell| !taken.contains(&cell));
            found.compare("new items", new.len(), usize::from(ate && room));
            found.compare("new items on free cells", new.iter().all(|cell| !taken.contains(cell)), true);
        }
    }

    /// Lives all lives at the same time.
    fn check_lives(&self, lives: &[(usize, Course)], tally: &mut Tally) -> Result<()> {
        let mut steps: Vec<Transition> = lives.iter().map(|(_, life)| first_step(life)).collect();
        let mut found: Vec<golden::Differences> = lives.iter().map(|_| Default::default()).collect();
        let longest = lives.iter().map(|(_, life)| life.length).max().unwrap_or(0);
        for number in 0..longest {
            let told = self.play(steps.iter().map(|step| (step, [&[][..]; 2])), 0)?;
            for (lane, (_, life)) in lives.iter().enumerate().filter(|(_, (_, life))| number < life.length) {
                let (step, now) = (&mut steps[lane], Lane { told: &told, lane, width: self.width });
                let energy = now.one("state.energy");
                let ends = number + 1 == life.length;
                let known = [ends && life.terminated == 1, ends && life.truncated == 1].map(f64::from);
                let over = [now.one("terminated"), now.one("truncated")];
                found[lane].compare(&format!("over after step {}", number + 1), over, known);
                if let Some(known) = life.energies.get(number).filter(|_| life.energies.len() == life.length)
                {
                    found[lane].compare(
                        &format!("energy after step {}", number + 1),
                        energy,
                        f64::from(*known),
                    );
                } else if ends {
                    let last = life.energies.last().copied().map(f64::from);
                    found[lane].compare("the last energy", Some(energy), last);
                }
                step.energy = energy as f32;
                step.steps += 1;
                (step.x, step.y) = (now.one("state.x") as i32, now.one("state.y") as i32);
                step.action = (number as i32 + 1) % 8;
            }
        }
        for ((id, _), differences) in lives.iter().zip(&found) {
            tally.add(&format!("record {id}"), &differences.0)?;
        }
        Ok(())
    }
}

/// The items after a step in the record.
fn items_after(step: &Transition) -> [Vec<usize>; 2] {
    [(1, &step.food), (2, &step.poison)].map(|(kind, before)| {
        let ate = step.ate == kind;
        let kept = before.iter().copied().filter(|cell| !(ate && Some(*cell) == step.cleared));
        kept.chain(step.respawned.filter(|_| ate)).collect()
    })
}

/// The cells of a window that hold food, and those that hold poison.
fn seen(window: &[f64]) -> [Vec<usize>; 2] {
    let channel = |values: &[f64]| (0..VIEW * VIEW).filter(|&cell| values[cell] > 0.0).collect();
    [channel(&window[..VIEW * VIEW]), channel(&window[VIEW * VIEW..])]
}

/// The first step of a life in an empty world.
fn first_step(life: &Course) -> Transition {
    Transition {
        w: EMPTY,
        h: EMPTY,
        food: Vec::new(),
        poison: Vec::new(),
        x: 0,
        y: 0,
        energy: life.energy,
        steps: 0,
        eaten: [0; 2],
        last: [0; 3],
        frozen: life.frozen,
        max_steps: LIMIT,
        nominal: [0; 2],
        range: [0; 4],
        action: 0,
        ..Default::default()
    }
}

/// Compares what the scripted players would do.
fn check_choices(choices: &[(usize, Scripted, Choice)], backend: &Backend, tally: &mut Tally) -> Result<()> {
    let width = choices.len();
    let windows = || Float::placeholder(crate::array::DType::F32, [VIEW, VIEW, width]);
    let program = HostFunction::new(backend, "choose", &(windows(), windows()), |views| {
        vmap_last(views, |(food, poison)| {
            let weights = Scripted::iter().map(|player| player.weights(food, poison));
            crate::lang::stack(weights.collect::<Vec<_>>())
        })
    })?;
    let window = |kind: usize| {
        let mut values = vec![0.0f32; VIEW * VIEW * width];
        for (lane, (_, _, choice)) in choices.iter().enumerate() {
            choice.view[kind].iter().for_each(|cell| values[cell * width + lane] = 1.0);
        }
        HostArray::new(&[VIEW, VIEW, width], values)
    };
    let told = program.call(&[window(0), window(1)])?;
    let weights = told.into_named().remove(0).1.to_f64();
    let num_actions = weights.len() / width / Scripted::iter().count();
    for (lane, (id, player, Choice { num, den, .. })) in choices.iter().enumerate() {
        let row = Scripted::iter().position(|other| other == *player).expect("it is one of them");
        let own: Vec<f64> =
            (0..num_actions).map(|a| weights[(row * num_actions + a) * width + lane]).collect();
        let (total, of) = (own.iter().sum::<f64>(), f64::from(*den));
        let same = own.len() == num.len()
            && own.iter().zip(num).all(|(weight, num)| (weight * of - f64::from(*num) * total).abs() < 1e-9);
        let difference = (!same).then(|| format!("expected {num:?}/{den}, got {own:?}/{total}"));
        tally.add(&format!("record {id}"), difference.as_slice())?;
    }
    Ok(())
}
