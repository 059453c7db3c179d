//! Scenes: a state as shapes on a plane, for those who show more than letters.
//!
//! A [`Painter`](super::painter::Painter) that brings one is drawn with it on the pages of `ui`; the picture of letters remains for
//! terminals and for people who listen. A scene names inks instead of colours, so that it is readable on light and on dark ground, and
//! lengths are in units of its own: whoever draws it makes it as large as there is room.

use serde::{Deserialize, Serialize};

/// A place, to the right and down from the upper left corner.
pub type Point = [f32; 2];

/// Shapes, the later over the earlier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    pub width: f32,
    pub height: f32,
    pub shapes: Vec<Shape>,
    /// Where a person points to take an action.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spots: Vec<Spot>,
}

/// A form in an ink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    #[serde(flatten)]
    pub form: Form,
    pub ink: Ink,
    /// 0 to 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub opacity: f32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    Disc {
        at: Point,
        radius: f32,
    },
    /// The outline of a disc.
    Ring {
        at: Point,
        radius: f32,
        width: f32,
    },
    /// A rectangle by its upper left corner, with corners rounded by so much.
    Block {
        at: Point,
        size: Point,
        round: f32,
    },
    Line {
        points: Vec<Point>,
        width: f32,
    },
    /// Lines from place to place, many of one kind.
    Strokes {
        ends: Vec<[Point; 2]>,
        width: f32,
    },
    /// What points surround.
    Area {
        points: Vec<Point>,
    },
    /// Letters of a height around a place, or to the right of it.
    Text {
        at: Point,
        size: f32,
        text: String,
        middle: bool,
    },
}

/// What a colour means; which one it is depends on the theme of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ink {
    Text,
    Quiet,
    /// Thin lines.
    Line,
    /// The ground of the page, and what lies on it.
    Ground,
    Raised,
    Accent,
    Good,
    Bad,
    Warn,
    Blue,
    Orange,
    Red,
    Green,
    Purple,
    Yellow,
    Sky,
}

/// Where an action is taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spot {
    pub action: usize,
    pub at: Point,
    pub size: Point,
    /// Around where is written what the agent thinks of it.
    pub label: Point,
    /// The height of these letters, where it is not that of a scene which is a few units wide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letters: Option<f32>,
}

fn one() -> f32 {
    1.0
}

fn is_one(opacity: &f32) -> bool {
    *opacity == 1.0
}

/// To a hundredth, which nobody sees; what is not finite lies at 0.
fn short(x: f32) -> f32 {
    if x.is_finite() { (100.0 * x).round() / 100.0 } else { 0.0 }
}

fn place(at: Point) -> Point {
    at.map(short)
}

impl Scene {
    /// Nothing yet.
    pub fn new(width: f32, height: f32) -> Scene {
        Scene { width, height, ..Scene::default() }
    }

    fn add(&mut self, form: Form, ink: Ink) -> &mut Shape {
        self.shapes.push(Shape { form, ink, opacity: 1.0 });
        self.shapes.last_mut().expect("it was added")
    }

    pub fn disc(&mut self, at: Point, radius: f32, ink: Ink) -> &mut Shape {
        self.add(Form::Disc { at: place(at), radius }, ink)
    }

    pub fn ring(&mut self, at: Point, radius: f32, width: f32, ink: Ink) -> &mut Shape {
        self.add(Form::Ring { at: place(at), radius, width }, ink)
    }

    pub fn block(&mut self, at: Point, size: Point, round: f32, ink: Ink) -> &mut Shape {
        self.add(Form::Block { at: place(at), size: place(size), round }, ink)
    }

    pub fn line(&mut self, points: impl IntoIterator<Item = Point>, width: f32, ink: Ink) -> &mut Shape {
        self.add(Form::Line { points: points.into_iter().map(place).collect(), width }, ink)
    }

    /// Many lines of one kind.
    pub fn strokes(
        &mut self,
        ends: impl IntoIterator<Item = [Point; 2]>,
        width: f32,
        ink: Ink,
    ) -> &mut Shape {
        self.add(Form::Strokes { ends: ends.into_iter().map(|ends| ends.map(place)).collect(), width }, ink)
    }

    pub fn area(&mut self, points: impl IntoIterator<Item = Point>, ink: Ink) -> &mut Shape {
        self.add(Form::Area { points: points.into_iter().map(place).collect() }, ink)
    }

    /// A text around a place.
    pub fn text(&mut self, at: Point, size: f32, text: impl Into<String>, ink: Ink) -> &mut Shape {
        self.add(Form::Text { at: place(at), size, text: text.into(), middle: true }, ink)
    }

    /// A text that begins at a place.
    pub fn text_from(&mut self, at: Point, size: f32, text: impl Into<String>, ink: Ink) -> &mut Shape {
        self.add(Form::Text { at: place(at), size, text: text.into(), middle: false }, ink)
    }

    /// Where an action is taken; what the agent thinks of it is written around `label`.
    pub fn spot(&mut self, action: usize, at: Point, size: Point, label: Point) -> &mut Spot {
        let (at, size, label) = (place(at), place(size), place(label));
        self.spots.push(Spot { action, at, size, label, letters: None });
        self.spots.last_mut().expect("it was added")
    }
}

impl Shape {
    /// Less of it.
    pub fn faint(&mut self, opacity: f32) -> &mut Shape {
        self.opacity = short(opacity.clamp(0.0, 1.0));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::HostArray;
    use crate::envs::painter::Frame;
    use crate::envs::{builtin, vector};
    use crate::interpret::interpret;
    use crate::lang::{Key, trace, vmap_last};

    #[test]
    fn first_states_are_drawn_whole() {
        let mut drawn = Vec::new();
        for entry in builtin() {
            let env = entry.build();
            let reset = || vector::reset(&*env, &env.default_params(), Key::new(3).split_last(1));
            let first = trace(&(), |()| reset());
            let state: Vec<(String, HostArray)> =
                first.output_names.into_iter().zip(interpret(&first.graph, &[])).collect();
            let seen = trace(&(), |()| {
                let params = env.default_params();
                vmap_last(reset(), |state| env.observe(&params, &state).actor.flatten())
            });
            let obs: Vec<f32> =
                interpret(&seen.graph, &[])[0].to_f64().into_iter().map(|x| x as f32).collect();
            let Some(scene) = entry.painter().scene(&Frame { state: &state, obs: &obs }) else { continue };
            let text = serde_json::to_string(&scene).unwrap();
            assert_eq!(serde_json::from_str::<Scene>(&text).unwrap(), scene, "{}", entry.name);
            assert!(!scene.shapes.is_empty(), "{}", entry.name);
            for spot in &scene.spots {
                let inside =
                    |i: usize, most: f32| spot.at[i] >= -0.6 && spot.at[i] + spot.size[i] <= most + 0.6;
                assert!(spot.action < env.spec().num_actions, "{}: {spot:?}", entry.name);
                assert!(inside(0, scene.width) && inside(1, scene.height), "{}: {spot:?}", entry.name);
            }
            drawn.push(entry.name);
        }
        assert!(drawn.len() >= 5, "{drawn:?}");
    }

    #[test]
    fn a_scene_is_read_back_as_it_was_written() {
        let mut scene = Scene::new(7.0, 6.5);
        scene.disc([0.5, f32::NAN], 0.4, Ink::Orange).faint(0.333);
        scene.block([0.1, 0.2], [1.0, 2.0], 0.0, Ink::Raised);
        scene.line([[0.0, 1.0 / 3.0], [2.0, 1.0]], 0.1, Ink::Line);
        scene.text_from([1.0, 1.0], 0.5, "a <b>", Ink::Text);
        scene.spot(3, [0.0; 2], [1.0; 2], [0.5; 2]);
        let text = serde_json::to_string(&scene).unwrap();
        assert!(
            text.contains(r#"{"disc":{"at":[0.5,0.0],"radius":0.4},"ink":"orange","opacity":0.33}"#),
            "{text}"
        );
        assert!(text.contains(r#"[0.0,0.33]"#) && !text.contains("\"opacity\":1"), "{text}");
        assert_eq!(serde_json::from_str::<Scene>(&text).unwrap(), scene);
    }
}
