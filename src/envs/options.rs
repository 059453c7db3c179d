//! Options of an environment: its parameters, and the switches that it declares, by name and value (`time_max=500`).
//!
//! Parameters are the scalars of [`Env::default_params`](super::Env::default_params), which are inputs of the programs; a switch is another
//! make of the environment, such as one with a mask of its actions; a size changes the shape of a game.

use crate::array::{DType, HostArray};
use crate::lang::{Bool, Float, Handle, Int, Key, Leaves, leaves};

use super::make::Make;
use super::painter::Painter;
use super::{AnyEnv, Description, EnvSpec, Mirror, Observation, Player, Step, default_params};

/// Another make of an environment.
#[derive(Clone, Copy)]
pub struct Switch {
    pub name: &'static str,
    pub make: fn() -> Box<dyn AnyEnv>,
}

/// Numbers that decide the shape of a game, such as the size of its board.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Each with what it is by default.
    pub known: fn() -> Vec<(&'static str, usize)>,
    /// The game of such sizes, in their order. One line for sizes that it cannot have.
    pub make: fn(&[usize]) -> Result<OtherSize, String>,
}

/// A game of another size, with what belongs to its shape.
pub struct OtherSize {
    pub env: Box<dyn AnyEnv>,
    pub description: Description,
    pub painter: Box<dyn Painter>,
}

/// What there is to choose from.
#[derive(Clone, Copy)]
pub struct Choices {
    /// The environment's.
    pub name: &'static str,
    pub make: Make,
    pub switches: &'static [Switch],
    pub sizes: Option<Sizes>,
}

/// What is chosen of an environment.
#[derive(Clone, Copy)]
pub struct Options {
    switch: Option<Switch>,
    /// If any is another one than by default.
    sizes: Option<&'static [usize]>,
    params: Params,
    /// The parameters of phases in the place of the environment's own.
    phases: &'static [Params],
}

/// Parameters other than by default, by name.
type Params = &'static [(String, HostArray)];

impl Options {
    /// Everything as it is by default.
    pub const NONE: Options = Options { switch: None, sizes: None, params: &[], phases: &[] };

    /// The environment, with what is chosen of it.
    pub fn build(&self, all: &Choices) -> Box<dyn AnyEnv> {
        let env = match (self.of_size(all), self.switch) {
            (Some(other), _) => other.env,
            (None, Some(switch)) => (switch.make)(),
            (None, None) => all.make.env(),
        };
        let Options { params, phases, .. } = *self;
        if params.is_empty() && phases.is_empty() { env } else { Box::new(Adjusted { env, params, phases }) }
    }

    /// The same, with parameters of one phase in the place of those of the whole, each as `NAME=VALUE`.
    ///
    /// # Errors
    /// As [`Options::parse`]; an option that decides the shape of the game, which no phase changes.
    pub fn in_phase(self, all: &Choices, options: &[String]) -> Result<Options, String> {
        let usual = all.sizes.map_or_else(Vec::new, |sizes| (sizes.known)());
        let mut shapes =
            all.switches.iter().map(|switch| switch.name).chain(usual.iter().map(|(name, _)| *name));
        let named: Vec<&str> = options.iter().map(|option| name_and_value(option).0).collect();
        if let Some(name) = shapes.find(|shape| named.contains(shape)) {
            return Err(format!(
                "the option {name} of {} decides what is compiled and cannot change in a run",
                all.name
            ));
        }
        let own = Options::parse(all, options)?.params;
        let rest = self.params.iter().filter(|(name, _)| !named.contains(&name.as_str()));
        let params: Vec<_> = rest.chain(own).cloned().collect();
        Ok(Options { params: params.leak(), ..self })
    }

    /// The same, with phases that have the parameters of these.
    pub fn with_phases(self, phases: &[Options]) -> Options {
        let phases: Vec<Params> = phases.iter().map(|phase| phase.params).collect();
        Options { phases: phases.leak(), ..self }
    }

    /// The game of another size, if that is chosen.
    pub fn of_size(&self, all: &Choices) -> Option<OtherSize> {
        let (sizes, chosen) = all.sizes.zip(self.sizes)?;
        Some((sizes.make)(chosen).expect("such a game was made before"))
    }

    /// The names of what can be chosen.
    pub fn names(all: &Choices) -> Vec<String> {
        let sizes = all.sizes.map_or_else(Vec::new, |sizes| (sizes.known)());
        let params = default_params(&*all.make.env()).into_iter().filter(is_option).map(|(name, _)| name);
        let makes = all.switches.iter().map(|switch| switch.name).chain(sizes.iter().map(|(name, _)| *name));
        makes.map(str::to_owned).chain(params).collect()
    }

    /// What is chosen of an environment, each as `NAME=VALUE`; of two of a name the later one counts.
    ///
    /// # Errors
    /// One line: there is no such option, or the value is none for it.
    pub fn parse(all: &Choices, options: &[String]) -> Result<Options, String> {
        let known = default_params(&*all.make.env());
        let usual = all.sizes.map_or_else(Vec::new, |sizes| (sizes.known)());
        let mut sizes: Vec<usize> = usual.iter().map(|(_, size)| *size).collect();
        let mut switch: Option<Switch> = None;
        let mut params: Vec<(String, HostArray)> = Vec::new();
        for option in options.iter().map(|option| option.trim()).filter(|option| !option.is_empty()) {
            let (name, value) = name_and_value(option);
            let wrong = |what: &str| format!("the option {name} of {} takes {what}, not {value}", all.name);
            if let Some(found) = all.switches.iter().find(|switch| switch.name == name) {
                match value {
                    "true" => switch = Some(*found),
                    "false" => switch = switch.filter(|other| other.name != name),
                    _ => return Err(wrong("true or false")),
                }
                continue;
            }
            if let Some(place) = usual.iter().position(|(other, _)| *other == name) {
                sizes[place] = value.parse().map_err(|_| wrong("a whole number"))?;
                continue;
            }
            let scalar = known.iter().find(|param| param.0 == name && is_option(param));
            let Some((_, array)) = scalar else { return Err(unknown(all, name)) };
            let number =
                || value.parse::<f64>().ok().filter(|x| x.is_finite()).ok_or_else(|| wrong("a number"));
            let array = match array.dtype() {
                DType::Bool => match value {
                    "true" => HostArray::scalar(true),
                    "false" => HostArray::scalar(false),
                    _ => return Err(wrong("true or false")),
                },
                DType::I32 => HostArray::scalar(value.parse::<i32>().map_err(|_| wrong("a whole number"))?),
                _ => HostArray::scalar(number()? as f32),
            };
            params.retain(|(other, _)| other != name);
            params.push((name.to_owned(), array));
        }
        let has_size = usual.iter().zip(&sizes).any(|((_, usual), size)| usual != size);
        if has_size && let Some(switch) = switch {
            let sizes: Vec<&str> = usual.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "{} cannot have {} with other {}",
                all.name,
                switch.name,
                sizes.join(" and ")
            ));
        }
        if let (true, Some(known)) = (has_size, all.sizes) {
            (known.make)(&sizes)?;
        }
        // Both are copied all over a program that ends with them.
        Ok(Options { switch, sizes: has_size.then(|| &*sizes.leak()), params: params.leak(), phases: &[] })
    }
}

/// Whether a parameter is a number or a flag that can be written on a command line.
fn is_option((_, value): &(String, HostArray)) -> bool {
    value.shape().is_empty() && [DType::Bool, DType::F32, DType::I32].contains(&value.dtype())
}

fn unknown(all: &Choices, name: &str) -> String {
    let (env, names) = (all.name, Options::names(all));
    match names.is_empty() {
        true => format!("{env} has no option {name}; it has none"),
        false => format!("{env} has no option {name}; it has {}", names.join(", ")),
    }
}

/// An environment with other default parameters.
struct Adjusted {
    env: Box<dyn AnyEnv>,
    params: Params,
    /// The parameters of phases in the place of the environment's own.
    phases: &'static [Params],
}

/// Parameters with some replaced.
#[track_caller]
fn adjusted(mut params: Leaves, own: Params) -> Leaves {
    for (name, leaf) in &mut params.0 {
        if let Some((_, value)) = own.iter().find(|(other, _)| other == name) {
            *leaf = constant(value.clone());
        }
    }
    params
}

#[track_caller]
fn constant(value: HostArray) -> Handle {
    match value.dtype() {
        DType::Bool => leaves(&Bool::constant(value))[0],
        DType::I32 => leaves(&Int::constant(value))[0],
        _ => leaves(&Float::constant(value))[0],
    }
}

impl AnyEnv for Adjusted {
    fn spec(&self) -> EnvSpec {
        self.env.spec()
    }

    fn default_params(&self) -> Leaves {
        adjusted(self.env.default_params(), self.params)
    }

    fn phases(&self) -> Vec<Leaves> {
        if self.phases.is_empty() {
            return self.env.phases().into_iter().map(|params| adjusted(params, self.params)).collect();
        }
        self.phases.iter().map(|own| adjusted(self.env.default_params(), own)).collect()
    }

    fn reset(&self, params: &Leaves, key: Key) -> Leaves {
        self.env.reset(params, key)
    }

    fn world(&self, params: &Leaves, number: Int) -> Option<Leaves> {
        self.env.world(params, number)
    }

    fn restart(&self, params: &Leaves, key: Key, ended: Leaves) -> Leaves {
        self.env.restart(params, key, ended)
    }

    fn restart_where(&self, done: Bool, params: &Leaves, key: Key, state: Leaves) -> Leaves {
        self.env.restart_where(done, params, key, state)
    }

    fn step_keys(&self, key: Key) -> [Key; 2] {
        self.env.step_keys(key)
    }

    fn step(&self, params: &Leaves, key: Key, state: Leaves, action: Int) -> Step<Leaves> {
        self.env.step(params, key, state, action)
    }

    fn observe(&self, params: &Leaves, state: &Leaves) -> Observation {
        self.env.observe(params, state)
    }

    fn to_move(&self, params: &Leaves, state: &Leaves) -> Int {
        self.env.to_move(params, state)
    }

    fn action_mask(&self, params: &Leaves, state: &Leaves) -> Option<Bool> {
        self.env.action_mask(params, state)
    }

    fn players(&self) -> Vec<Player> {
        self.env.players()
    }

    fn mirror(&self) -> Option<Mirror> {
        self.env.mirror()
    }
}

/// The parts of an option `NAME=VALUE`; one that has a name alone is true.
pub fn name_and_value(option: &str) -> (&str, &str) {
    option.trim().split_once('=').unwrap_or((option.trim(), "true"))
}

#[cfg(test)]
mod tests {
    use crate::array::HostArray;
    use crate::envs::{default_params, registry};

    #[test]
    fn a_game_can_be_had_on_another_board() {
        let entry = registry::find("connect4").unwrap();
        let made = |text: &str| {
            let options: Vec<String> = text.split(',').map(str::to_owned).collect();
            entry.with(&options).map(|entry| (entry.spec().obs_shape, entry.description().actions.len()))
        };
        assert_eq!(made(""), Ok((vec![2, 6, 7], 7)));
        assert_eq!(made("rows=5"), Ok((vec![2, 5, 7], 7)));
        assert_eq!(made("cols=4,rows=5,win=2"), Ok((vec![2, 5, 4], 4)));
        assert_eq!(made("rows=5,rows=6"), Ok((vec![2, 6, 7], 7)));
        assert!(made("rows=20").unwrap_err().contains("20x7 is too large"));
        assert!(made("rows=0").unwrap_err().contains("has no cells"));
        assert_eq!(
            made("rows=5.5").unwrap_err(),
            "the option rows of connect4 takes a whole number, not 5.5"
        );
        assert!(made("row=5").unwrap_err().starts_with("connect4 has no option row; it has rows, cols, win"));
    }

    #[test]
    fn phases_have_parameters_of_their_own() {
        let options = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
        let entry = registry::find("cartpole").unwrap().with(&options("gravity=5 max_steps=90")).unwrap();
        let phases = |texts: &[&str]| {
            let phases: Vec<_> = texts.iter().map(|text| options(text)).collect();
            entry.with_phases(&phases)
        };
        let made = phases(&["max_steps=10", "", "gravity=7"]).unwrap().build();
        let values = |params: Vec<(String, HostArray)>| {
            let value = |name: &str| params.iter().find(|(other, _)| other == name).unwrap().1.to_f64()[0];
            [value("gravity"), value("max_steps")]
        };
        assert_eq!(values(default_params(&*made)), [5.0, 90.0]);
        let found: Vec<_> = crate::envs::phases(&*made).into_iter().map(values).collect();
        assert_eq!(found, [[5.0, 10.0], [5.0, 90.0], [7.0, 90.0]]);
        let wrong = |text: &str| phases(&["", text]).unwrap_err();
        assert_eq!(
            wrong("max_steps=x"),
            (2, "the option max_steps of cartpole takes a whole number, not x".into())
        );
        assert!(wrong("gravity=1000").1.contains("it must be from 0 to 100"));
        let asteroid = registry::find("asteroid").unwrap();
        let found = asteroid.with_phases(&[options("mask_invalid=true")]).unwrap_err();
        assert!(found.1.contains("decides what is compiled"), "{found:?}");
    }

    #[test]
    fn a_switch_can_be_turned_off_again() {
        let entry = registry::find("asteroid").unwrap();
        let masked = |text: &str| {
            let options: Vec<String> = text.split(',').map(str::to_owned).collect();
            entry.with(&options).unwrap().options.switch.is_some()
        };
        assert!(masked("mask_invalid=true") && !masked("mask_invalid=true,mask_invalid=false"));
    }
}
