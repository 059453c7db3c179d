//! What differs between a picture and the one before it.
//!
//! Most of a picture stays as it is from step to step: the map, the legend, the names beside the numbers. So a file holds of each picture
//! only the lines and shapes that are not as they were, each with its place; whoever reads it makes whole pictures of them again.

use serde::{Deserialize, Serialize};

use super::{Drawing, Painted, Text, text_of};
use crate::envs::scene::{Shape, Spot};

/// What differs between a drawing and the one before it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    #[serde(default, skip_serializing_if = "List::is_none")]
    board: List<Text>,
    #[serde(default, skip_serializing_if = "List::is_none")]
    legend: List<Text>,
    #[serde(default, skip_serializing_if = "List::is_none")]
    facts: List<Text>,
    #[serde(default, skip_serializing_if = "List::is_none")]
    shapes: List<Shape>,
    /// All of them: they are few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    spots: Vec<Spot>,
}

/// What differs between two lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct List<T> {
    /// The new length, if it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    length: Option<usize>,
    /// The entries that are not as they were, each with its place, in their order.
    set: Vec<(usize, T)>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        List { length: None, set: Vec::new() }
    }
}

impl<T> List<T> {
    /// The entries are made by `keep` of what was painted.
    fn between<P: PartialEq>(before: &[P], after: &[P], keep: impl Fn(&P) -> T) -> List<T> {
        let length = (after.len() != before.len()).then_some(after.len());
        let entries = after.iter().enumerate();
        let set = entries.filter(|(place, entry)| before.get(*place) != Some(entry));
        List { length, set: set.map(|(place, entry)| (place, keep(entry))).collect() }
    }

    /// Says whether it was about this list.
    fn apply(self, list: &mut Vec<T>) -> bool {
        let List { length, set } = self;
        if let Some(length) = length {
            list.truncate(length);
        }
        let length = length.unwrap_or(list.len());
        for (place, entry) in set {
            match place {
                place if place < list.len() => list[place] = entry,
                place if place == list.len() && place < length => list.push(entry),
                _ => return false,
            }
        }
        list.len() == length
    }

    fn is_none(&self) -> bool {
        self.length.is_none() && self.set.is_empty()
    }
}

impl Changes {
    /// What differs between two moments; nothing if they are not of one kind, so that the second one is to be kept whole.
    pub fn between(before: &Painted, after: &Painted) -> Option<Changes> {
        let size = |painted: &Painted| painted.scene.as_ref().map(|scene| (scene.width, scene.height));
        let (old, new) = (&before.picture, &after.picture);
        (size(before) == size(after)).then(|| Changes {
            board: List::between(&old.board, &new.board, text_of),
            legend: List::between(&old.legend, &new.legend, text_of),
            facts: List::between(&old.facts, &new.facts, text_of),
            shapes: List::between(shapes_of(before), shapes_of(after), Shape::clone),
            spots: after.scene.as_ref().map(|scene| scene.spots.clone()).unwrap_or_default(),
        })
    }

    /// Makes of a drawing the one after it; nothing if these are not its changes.
    pub fn apply(self, before: &Drawing) -> Option<Drawing> {
        let mut drawing = before.clone();
        let Changes { board, legend, facts, shapes, spots } = self;
        let is_of_scene = match &mut drawing.scene {
            Some(scene) => {
                scene.spots = spots;
                shapes.apply(&mut scene.shapes)
            }
            None => shapes.is_none() && spots.is_empty(),
        };
        let is_its = is_of_scene
            && board.apply(&mut drawing.board)
            && legend.apply(&mut drawing.legend)
            && facts.apply(&mut drawing.facts);
        is_its.then_some(drawing)
    }
}

fn shapes_of(painted: &Painted) -> &[Shape] {
    painted.scene.as_ref().map_or(&[], |scene| &scene.shapes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::painter::{Line, Picture};
    use crate::envs::scene::{Ink, Scene};

    fn painted(lines: &[&'static str], discs: &[f32]) -> Painted {
        let mut scene = Scene::new(2.0, 1.0);
        for &radius in discs {
            scene.disc([0.0; 2], radius, Ink::Text);
        }
        let board = lines.iter().map(|line| Line::from(*line)).collect();
        Painted { picture: Picture { board, ..Picture::default() }, scene: Some(scene) }
    }

    #[test]
    fn a_drawing_is_that_before_it_with_what_differs() {
        let moments = [
            painted(&["a", "b", "c"], &[1.0, 2.0]),
            painted(&["a", "x", "c"], &[1.0, 2.0, 3.0]),
            painted(&["a"], &[]),
            painted(&[], &[4.0]),
        ];
        for before in &moments {
            for after in &moments {
                let changes = Changes::between(before, after).unwrap();
                let text = serde_json::to_string(&changes).unwrap();
                let read: Changes = serde_json::from_str(&text).unwrap();
                let [before, after] = [before, after].map(Painted::drawing);
                assert_eq!(read.apply(&before).as_ref(), Some(&after), "{text}");
                assert_eq!(text == "{}", before == after, "{text}");
            }
        }
        let other = Painted { scene: None, ..painted(&["a"], &[]) };
        assert_eq!(Changes::between(&other, &moments[0]), None);
    }

    #[test]
    fn changes_of_something_else_are_noticed() {
        let before = painted(&["a"], &[]).drawing();
        for text in [
            r#"{"board":{"set":[[1,[]]]}}"#,
            r#"{"board":{"length":3,"set":[[1,[]]]}}"#,
            r#"{"facts":{"length":18446744073709551615,"set":[]}}"#,
        ] {
            assert_eq!(serde_json::from_str::<Changes>(text).unwrap().apply(&before), None, "{text}");
        }
        let flat = Drawing { scene: None, ..before };
        let shapes = r#"{"shapes":{"length":0,"set":[]}}"#;
        assert_eq!(serde_json::from_str::<Changes>(shapes).unwrap().apply(&flat), None);
    }
}
