//! The search space: which settings vary, over what, and how each maps to [-1, 1].
//!
//! A point of the space is a list of numbers in [-1, 1], one for each setting: z = 2 u - 1, where u says how far a value is from `min` to
//! `max` on the scale of its distribution (PufferLib's names, in which nothing is normal):
//!
//! | distribution | u is linear in | value |
//! |---|---|---|
//! | `uniform` | v | any |
//! | `int_uniform` | v | whole |
//! | `uniform_pow2` | log2 v | a power of two |
//! | `log_normal` | log10 v | any; whole for a setting that is |
//! | `logit_normal` | log10 (1 - v) | any, right for gamma and lambda |
//! | `categorical` | the place in `values` | one of `values` |

use std::f64::consts::LN_10;

use anyhow::{Result, bail, ensure};
use toml::{Table, Value};

use super::random::Random;
use super::section::Section;

/// The setting that decides what a trial costs before anything else does.
pub const COST: &str = "total_timesteps";
/// In which group of a file the parameters of the environment are.
pub const ENV: &str = "env.";

/// How far a step goes from a point, in units of z, if nobody says it.
const SCALE: f64 = 0.5;
/// How often a step draws a categorical setting anew.
const REDRAWN: f64 = 0.25;
/// Values of a setting on a grid, if nobody says how many.
const GRID: u64 = 5;

/// On which scale the values of a setting are uniform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Linear,
    PowerOfTwo,
    Log,
    /// Log in the distance from 1.
    Logit,
}

impl Scale {
    fn up(self, value: f64) -> f64 {
        match self {
            Scale::Linear => value,
            Scale::PowerOfTwo => value.log2(),
            Scale::Log => value.log10(),
            Scale::Logit => (1.0 - value).log10(),
        }
    }

    fn down(self, x: f64) -> f64 {
        match self {
            Scale::Linear => x,
            Scale::PowerOfTwo => x.exp2(),
            Scale::Log => 10f64.powf(x),
            Scale::Logit => -(x * LN_10).exp_m1(),
        }
    }
}

/// What values a setting may have.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    Range { scale: Scale, min: f64, max: f64, whole: bool },
    Choice(Vec<Value>),
}

/// A setting that varies.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// As a setting of `train`, or `env.NAME`.
    pub name: String,
    pub values: Values,
    /// How far a step goes, in units of z.
    pub step: f64,
    /// How many values there are on a grid.
    grid: u64,
    /// Where the search begins.
    pub initial: Option<Value>,
}

const DISTRIBUTIONS: [&str; 6] =
    ["uniform", "int_uniform", "uniform_pow2", "log_normal", "logit_normal", "categorical"];

impl Parameter {
    /// Reads the section of a setting.
    ///
    /// # Errors
    /// One line: a key is unknown, or the values are none for the distribution.
    pub fn read(name: &str, table: Table) -> Result<Parameter> {
        let path = format!("sweep.{name}");
        let mut section = Section::new(&path, table);
        let choices = section.take("values");
        let distribution = match (section.word("distribution", &DISTRIBUTIONS)?, &choices) {
            (Some(place), _) => DISTRIBUTIONS[place],
            (None, Some(_)) => "categorical",
            (None, None) => bail!("{path} has no distribution; it is one of {}", DISTRIBUTIONS.join(", ")),
        };
        let [min, max] = [section.number("min")?, section.number("max")?];
        let values = match (distribution, choices) {
            ("categorical", Some(Value::Array(values))) => {
                let differ = values.iter().enumerate().all(|(i, value)| !values[..i].contains(value));
                ensure!(values.len() > 1 && differ, "{path}.values must be at least two, all different");
                ensure!(min.or(max).is_none(), "{path} has values, so it can have no min and max");
                Values::Choice(values)
            }
            ("categorical", _) => bail!("{path}.values must be a list, such as [1, 2]"),
            (_, Some(_)) => bail!("{path} is {distribution} and can have no values; leave them out"),
            (_, None) => {
                let (Some(min), Some(max)) = (min, max) else { bail!("{path} needs min and max") };
                range(&path, distribution, min, max)?
            }
        };
        let step = match section.take("scale") {
            None => SCALE,
            Some(Value::String(word)) if word == "auto" => SCALE,
            Some(Value::String(word)) if word == "time" => match values {
                Values::Range { min, max, .. } if min > 0.0 => 1.0 / (max.log2() - min.log2()),
                _ => bail!("{path}.scale is time, for which min must be above 0"),
            },
            Some(value) => {
                let number = value.as_float().or(value.as_integer().map(|whole| whole as f64));
                let number = number.filter(|number| (1e-6..=2.0).contains(number));
                number.ok_or_else(|| {
                    section.about("scale", format!("is {value}; it must be auto, time or from 1e-6 to 2"))
                })?
            }
        };
        let grid = section.whole("points", 2, 1000)?.unwrap_or(GRID);
        let initial = section.take("mean");
        section.end()?;
        let parameter = Parameter { name: name.to_owned(), values, step: step.min(2.0), grid, initial };
        if let Some(initial) = &parameter.initial {
            ensure!(
                parameter.place(initial).is_some(),
                "{path}.mean is {initial}, which is none of its values"
            );
        }
        Ok(parameter)
    }

    /// Says that the setting takes whole numbers only.
    pub fn make_whole(&mut self) {
        if let Values::Range { whole, .. } = &mut self.values {
            *whole = true;
        }
    }

    /// The value at z.
    pub fn value(&self, z: f64) -> Value {
        let u = ((z + 1.0) / 2.0).clamp(0.0, 1.0);
        match &self.values {
            Values::Choice(values) => {
                values[((u * values.len() as f64) as usize).min(values.len() - 1)].clone()
            }
            &Values::Range { scale, min, max, whole } => {
                let (low, high) = (scale.up(min), scale.up(max));
                let x = low + u * (high - low);
                let x = if scale == Scale::PowerOfTwo { x.round() } else { x };
                // The bounds are what the file says, whatever rounding does.
                let value = scale.down(x).clamp(min, max);
                match whole {
                    true => Value::Integer(value.round() as i64),
                    false => Value::Float(short(value)),
                }
            }
        }
    }

    /// The z of a value: that of the nearest one that there is. Nothing if it is no value of such a kind.
    pub fn place(&self, value: &Value) -> Option<f64> {
        match &self.values {
            Values::Choice(values) => {
                let place = values.iter().position(|other| other == value)?;
                Some((2 * place + 1) as f64 / values.len() as f64 - 1.0)
            }
            &Values::Range { scale, min, max, .. } => {
                let value = value.as_float().or(value.as_integer().map(|whole| whole as f64))?;
                let (low, high) = (scale.up(min), scale.up(max));
                Some(2.0 * (scale.up(value.clamp(min, max)) - low) / (high - low) - 1.0)
            }
        }
    }

    /// The z of the value that is at z.
    fn snapped(&self, z: f64) -> f64 {
        self.place(&self.value(z)).expect("the value is one of the parameter's")
    }

    /// The places of its values on a grid.
    fn grid(&self) -> Vec<f64> {
        let count = match &self.values {
            Values::Choice(values) => return values.iter().filter_map(|value| self.place(value)).collect(),
            Values::Range { .. } => self.grid,
        };
        let mut places: Vec<f64> =
            (0..count).map(|i| self.snapped(2.0 * i as f64 / (count - 1) as f64 - 1.0)).collect();
        places.dedup();
        places
    }
}

/// Twelve digits: more than a setting means, and none of the last ones that rounding makes.
fn short(value: f64) -> f64 {
    format!("{value:.11e}").parse().expect("a number in digits is a number")
}

fn range(path: &str, distribution: &str, min: f64, max: f64) -> Result<Values> {
    ensure!(min < max, "{path}.min is {min} and max is {max}; min must be below max");
    let (scale, whole) = match distribution {
        "uniform" => (Scale::Linear, false),
        "int_uniform" => (Scale::Linear, true),
        "uniform_pow2" => (Scale::PowerOfTwo, true),
        "log_normal" => (Scale::Log, false),
        _ => (Scale::Logit, false),
    };
    let positive = matches!(scale, Scale::Log | Scale::PowerOfTwo);
    ensure!(!positive || min > 0.0, "{path}.min is {min}; for {distribution} it must be above 0");
    ensure!(scale != Scale::Logit || max < 1.0, "{path}.max is {max}; for {distribution} it must be below 1");
    if scale == Scale::PowerOfTwo {
        let is_power = |value: f64| value.log2().fract() == 0.0;
        ensure!(
            min >= 1.0 && is_power(min) && is_power(max),
            "{path}: {min} and {max} must be powers of two"
        );
    } else if whole {
        ensure!(min.fract() == 0.0 && max.fract() == 0.0, "{path}: {min} and {max} must be whole numbers");
    }
    ensure!(
        !whole || max.abs().max(min.abs()) < 9e15,
        "{path}: {min} or {max} is too large for a whole number"
    );
    Ok(Values::Range { scale, min, max, whole })
}

/// The settings that vary, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    pub parameters: Vec<Parameter>,
}

impl Space {
    /// The values at a point, by name.
    pub fn values(&self, at: &[f64]) -> Table {
        self.parameters
            .iter()
            .zip(at)
            .map(|(parameter, &z)| (parameter.name.clone(), parameter.value(z)))
            .collect()
    }

    /// The point of these values. Nothing if one is missing or none of its setting's.
    pub fn point(&self, values: &Table) -> Option<Vec<f64>> {
        self.parameters.iter().map(|parameter| parameter.place(values.get(&parameter.name)?)).collect()
    }

    /// The point at which the values are exactly what they are near.
    pub fn snapped(&self, at: &[f64]) -> Vec<f64> {
        self.parameters.iter().zip(at).map(|(parameter, &z)| parameter.snapped(z)).collect()
    }

    /// Where the search begins: at what each parameter says, else in the middle.
    pub fn initial(&self) -> Vec<f64> {
        let place = |parameter: &Parameter| {
            let own = parameter.initial.as_ref().and_then(|value| parameter.place(value));
            own.unwrap_or_else(|| parameter.snapped(0.0))
        };
        self.parameters.iter().map(place).collect()
    }

    /// The place of the setting that decides the cost, if it varies.
    pub fn cost(&self) -> Option<usize> {
        self.parameters.iter().position(|parameter| parameter.name == COST)
    }

    /// A step from a point: each setting moves uniformly by at most its scale, and stays within its bounds.
    pub fn step(&self, from: &[f64], random: &mut Random) -> Vec<f64> {
        let moved = |(parameter, &z): (&Parameter, &f64)| match parameter.values {
            Values::Choice(_) if random.uniform() >= REDRAWN => z,
            Values::Choice(_) => parameter.snapped(random.symmetric()),
            Values::Range { .. } => {
                parameter.snapped((z + parameter.step * random.symmetric()).clamp(-1.0, 1.0))
            }
        };
        self.parameters.iter().zip(from).map(moved).collect()
    }

    /// A point as features of a Gaussian process: z itself, but for a choice of more than two a feature for each, for they have no order.
    pub fn features(&self, at: &[f64]) -> Vec<f64> {
        let mut features = Vec::with_capacity(at.len());
        for (parameter, &z) in self.parameters.iter().zip(at) {
            match &parameter.values {
                Values::Choice(values) if values.len() > 2 => {
                    let chosen = (((z + 1.0) / 2.0 * values.len() as f64) as usize).min(values.len() - 1);
                    features.extend((0..values.len()).map(|place| if place == chosen { 0.5 } else { -0.5 }));
                }
                _ => features.push(z),
            }
        }
        features
    }

    /// How many points the grid has; u64::MAX if they are more than can be counted.
    pub fn grid_size(&self) -> u64 {
        self.parameters
            .iter()
            .fold(1u64, |size, parameter| size.saturating_mul(parameter.grid().len() as u64))
    }

    /// A point of the grid, on which the last setting varies fastest. Nothing after the last.
    pub fn grid(&self, mut number: u64) -> Option<Vec<f64>> {
        let mut at = Vec::new();
        for parameter in self.parameters.iter().rev() {
            let places = parameter.grid();
            at.push(places[(number % places.len() as u64) as usize]);
            number /= places.len() as u64;
        }
        at.reverse();
        (number == 0).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(text: &str) -> Result<Parameter> {
        Parameter::read("x", text.parse().unwrap())
    }

    fn range_of(distribution: &str, min: f64, max: f64) -> Parameter {
        parameter(&format!("distribution = \"{distribution}\"\nmin = {min:?}\nmax = {max:?}")).unwrap()
    }

    #[test]
    fn values_map_to_the_places_of_the_specification() {
        let lr = range_of("log_normal", 1e-5, 0.1);
        assert!((lr.place(&Value::Float(0.015)).unwrap() - 0.58805).abs() < 1e-5);
        let gamma = range_of("logit_normal", 0.8, 0.9999);
        assert!((gamma.place(&Value::Float(0.995)).unwrap() + 0.02936).abs() < 1e-5);
        let middle = gamma.value(0.0).as_float().unwrap();
        assert!((middle - 0.99553).abs() < 1e-5, "{middle}");
    }

    #[test]
    fn every_distribution_goes_there_and_back() {
        for distribution in ["uniform", "log_normal", "logit_normal"] {
            let parameter = range_of(distribution, 0.125, 0.875);
            for z in [-1.0, -0.3, 0.0, 0.77, 1.0] {
                assert!((parameter.snapped(z) - z).abs() < 1e-9, "{distribution}");
            }
            assert_eq!(parameter.value(-1.0), Value::Float(0.125));
            assert_eq!(parameter.value(1.0), Value::Float(0.875));
        }
        let pow2 = range_of("uniform_pow2", 8.0, 64.0);
        assert_eq!([-1.0, -0.3, 0.4, 1.0].map(|z| pow2.value(z)), [8, 16, 32, 64].map(Value::Integer));
        assert!((pow2.snapped(-0.3) + 1.0 / 3.0).abs() < 1e-12);
        let whole = range_of("int_uniform", 0.0, 3.0);
        assert_eq!([-1.0, -0.4, 1.0].map(|z| whole.value(z)), [0, 1, 3].map(Value::Integer));
        let choice = parameter("values = [\"a\", \"b\", \"c\"]").unwrap();
        assert_eq!([-0.9, 0.1, 1.0].map(|z| choice.value(z)), ["a", "b", "c"].map(Value::from));
        assert_eq!(choice.value(choice.snapped(0.1)), Value::from("b"));
    }

    #[test]
    fn impossible_ranges_are_named() {
        let complaint = |text: &str| parameter(text).unwrap_err().to_string();
        let uniform = "distribution = \"uniform\"\n";
        assert!(complaint(&format!("{uniform}min = 2\nmax = 1")).contains("sweep.x.min is 2 and max is 1"));
        assert!(complaint(&format!("{uniform}min = 2")).contains("sweep.x needs min and max"));
        let misspelt = complaint(&format!("{uniform}min = 1\nmax = 2\nscal = 3"));
        assert_eq!(misspelt, "there is no sweep.x.scal; did you mean scale?");
        assert!(complaint("distribution = \"normal\"").contains("it must be one of uniform"));
        assert!(complaint("min = 1\nmax = 2").contains("has no distribution"));
        let log = "distribution = \"log_normal\"\nmin = 0\nmax = 1";
        assert!(complaint(log).contains("for log_normal it must be above 0"));
        let logit = "distribution = \"logit_normal\"\nmin = 0.5\nmax = 1";
        assert!(complaint(logit).contains("for logit_normal it must be below 1"));
        assert!(complaint("distribution = \"uniform_pow2\"\nmin = 3\nmax = 8").contains("powers of two"));
        assert!(complaint("values = [1]").contains("at least two"));
        assert!(complaint("values = [1, 1]").contains("all different"));
        assert!(complaint(&format!("{uniform}min = 1\nmax = 2\nscale = 3")).contains("scale is 3"));
        assert!(complaint(&format!("{uniform}min = 1\nmax = 2\nmin_ = nan")).contains("no sweep.x.min_"));
    }

    #[test]
    fn steps_stay_near_and_within_the_bounds() {
        let whole = Parameter { name: "y".into(), ..range_of("int_uniform", 0.0, 9.0) };
        let space = Space { parameters: vec![range_of("uniform", 0.0, 1.0), whole] };
        let (mut random, from) = (Random::new(0, 0), [0.9, -1.0]);
        for _ in 0..100 {
            let at = space.step(&from, &mut random);
            assert!(
                at.iter().zip(&from).all(|(z, from)| (z - from).abs() <= 0.62 && z.abs() <= 1.0),
                "{at:?}"
            );
            assert_eq!(space.point(&space.values(&at)).unwrap(), at);
        }
    }

    #[test]
    fn a_grid_has_every_combination_once() {
        let space = Space {
            parameters: vec![parameter("values = [true, false]").unwrap(), range_of("int_uniform", 1.0, 3.0)],
        };
        assert_eq!(space.grid_size(), 6);
        let points: Vec<_> =
            (0..).map_while(|number| space.grid(number)).map(|at| space.values(&at)).collect();
        assert_eq!(points.len(), 6);
        assert_eq!(points[1], "x = 2".parse::<Table>().unwrap().into_iter().collect());
    }
}
