//! The setting `curriculum`: whether an algorithm trains on the phases of its environment, and when each begins.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::algorithms::count;

/// The setting: whether there is a curriculum, and when its phases begin. As text `off`, `return`, or timesteps with commas
/// between; in a file the timesteps are a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "Value", try_from = "Value")]
pub enum Curriculum {
    #[default]
    Off,
    /// A phase begins when the one before it is mastered.
    Return,
    /// The timesteps at which each phase but the first begins.
    At(Vec<u64>),
}

/// A [`Curriculum`] in a file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"off\", \"return\" or a list of timesteps")]
enum Value {
    Word(String),
    Timesteps(Vec<u64>),
}

impl From<Curriculum> for Value {
    fn from(curriculum: Curriculum) -> Value {
        match curriculum {
            Curriculum::At(timesteps) => Value::Timesteps(timesteps),
            Curriculum::Off | Curriculum::Return => Value::Word(curriculum.to_string()),
        }
    }
}

impl TryFrom<Value> for Curriculum {
    type Error = String;

    fn try_from(value: Value) -> Result<Curriculum, String> {
        match value {
            Value::Word(word) => word.parse(),
            Value::Timesteps(timesteps) if timesteps.is_empty() => Ok(Curriculum::Off),
            Value::Timesteps(timesteps) => Ok(Curriculum::At(timesteps)),
        }
    }
}

impl FromStr for Curriculum {
    type Err = String;

    fn from_str(text: &str) -> Result<Curriculum, String> {
        match text {
            "off" => Ok(Curriculum::Off),
            "return" => Ok(Curriculum::Return),
            _ => match text.split(',').map(count::parse).collect() {
                Ok(timesteps) => Ok(Curriculum::At(timesteps)),
                Err(_) => Err("expected return, off or timesteps such as 10000000,20000000".into()),
            },
        }
    }
}

impl fmt::Display for Curriculum {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Curriculum::Off => f.write_str("off"),
            Curriculum::Return => f.write_str("return"),
            Curriculum::At(timesteps) => {
                let numbers: Vec<String> = timesteps.iter().map(u64::to_string).collect();
                f.write_str(&numbers.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_as_text_and_in_files() {
        #[derive(Serialize, Deserialize)]
        struct File {
            curriculum: Curriculum,
        }
        for (text, line, curriculum) in [
            ("off", "curriculum = \"off\"", Curriculum::Off),
            ("return", "curriculum = \"return\"", Curriculum::Return),
            ("10,20", "curriculum = [10, 20]", Curriculum::At(vec![10, 20])),
        ] {
            assert_eq!(text.parse(), Ok(curriculum.clone()));
            assert_eq!(curriculum.to_string(), text);
            assert_eq!(toml::to_string(&File { curriculum: curriculum.clone() }).unwrap().trim(), line);
            assert_eq!(toml::from_str::<File>(line).unwrap().curriculum, curriculum);
        }
        assert_eq!(toml::from_str::<File>("curriculum = []").unwrap().curriculum, Curriculum::Off);
        let found = "often".parse::<Curriculum>().unwrap_err();
        assert_eq!(found, "expected return, off or timesteps such as 10000000,20000000");
    }
}
