//! What a program returned, read by name.
//!
//! The outputs of a program are the leaves of the tree that was traced, in order. Which leaf stands where depends on the
//! environment and the network: packed observations are two leaves, an absent mask is none. So nothing reads outputs by position:
//! [`Outputs`] gives them by their paths.

use super::tree::Path;

/// Values of the leaves of a tree, by path.
pub struct Outputs<T>(Vec<(String, T)>);

impl<T> Outputs<T> {
    /// The values of a program that was traced to these [`output_names`](super::Signature::output_names).
    pub fn new(names: &[String], values: impl IntoIterator<Item = T>) -> Outputs<T> {
        let values: Vec<T> = values.into_iter().collect();
        assert_eq!(names.len(), values.len(), "a program returns one value for each leaf of its output");
        Outputs(names.iter().cloned().zip(values).collect())
    }

    /// The value of the leaf at `path`. Panics if there is none: the tree that was traced has it.
    #[track_caller]
    pub fn take(&mut self, path: &str) -> T {
        self.take_if_any(path).unwrap_or_else(|| panic!("there is no output `{path}`"))
    }

    /// The value of the leaf at `path`, if the tree has one: of an `Option`.
    pub fn take_if_any(&mut self, path: &str) -> Option<T> {
        let place = self.0.iter().position(|(name, _)| name == path)?;
        Some(self.0.remove(place).1)
    }

    /// All leaves that were not taken, in their order.
    pub fn into_named(self) -> Vec<(String, T)> {
        self.0
    }

    /// The leaves below `path` in their order, with the rest of their paths.
    pub fn take_below(&mut self, path: &str) -> Vec<(String, T)> {
        let prefix = Path::root().join(path).join("");
        let (below, rest) =
            std::mem::take(&mut self.0).into_iter().partition(|(name, _)| name.starts_with(prefix.as_str()));
        self.0 = rest;
        let strip = |(name, value): (String, T)| (name[prefix.as_str().len()..].to_owned(), value);
        Vec::into_iter(below).map(strip).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::{Float, constant, trace};

    struct Pair {
        x: Float,
        y: Option<Float>,
    }
    crate::tree!(Pair { x, y });

    struct All {
        pair: Pair,
        pairs: Vec<Float>,
        x: Float,
    }
    crate::tree!(All { pair, pairs, x });

    #[test]
    fn leaves_are_found_by_path_wherever_they_stand() {
        for y in [None, Some(2.0)] {
            let names = trace(&(), |()| {
                let number = |value: f64| constant([value as f32]);
                let pair = Pair { x: number(1.0), y: y.map(number) };
                All { pair, pairs: vec![number(3.0), number(4.0)], x: number(5.0) }
            })
            .output_names;
            let values = [1.0].into_iter().chain(y).chain([3.0, 4.0, 5.0]);
            let mut outputs = Outputs::new(&names, values);
            assert_eq!(outputs.take("x"), 5.0);
            assert_eq!(outputs.take_if_any("pair.y"), y);
            let named = [("0".to_owned(), 3.0), ("1".to_owned(), 4.0)];
            assert_eq!(outputs.take_below("pairs"), named);
            assert_eq!(outputs.take_below("pair"), [("x".to_owned(), 1.0)]);
            assert_eq!(outputs.take_if_any("x"), None);
        }
    }
}
