//! A picture as a list of shapes, and its two forms: SVG text, and PNG pixels.

use std::fmt::Write;

use anyhow::{Context, Result};
use tiny_skia::{Color, FillRule, Paint, Path, PathBuilder, Pixmap, Stroke, Transform};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

/// A place in pixels, from the upper left corner.
pub type Point = (f64, f64);

/// How something is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Ink {
    /// As `[red, green, blue]`.
    pub colour: [u8; 3],
    pub opacity: f64,
    /// Width of lines.
    pub width: f64,
}

/// Where a text stands to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

#[derive(Debug)]
enum Shape {
    Line(Vec<Point>, Ink),
    Area(Vec<Point>, Ink),
    Text { at: Point, anchor: Anchor, bold: bool, size: f64, colour: [u8; 3], text: String },
}

/// Shapes on a ground of one colour, the later over the earlier.
#[derive(Debug)]
pub struct Picture {
    width: f64,
    height: f64,
    ground: [u8; 3],
    shapes: Vec<Shape>,
}

const FONT_SIZE: f64 = 12.0;
const HEADING_SIZE: f64 = 17.0;
/// Pixels of a PNG for one of the picture.
const SCALE: f32 = 2.0;

impl Picture {
    pub fn new(width: f64, height: f64) -> Self {
        Self::on([0xff; 3], width, height)
    }

    /// A picture on a ground of another colour than white.
    pub fn on(ground: [u8; 3], width: f64, height: f64) -> Self {
        Self { width, height, ground, shapes: Vec::new() }
    }

    /// Draws a line through points.
    pub fn line(&mut self, points: Vec<Point>, ink: Ink) {
        self.shapes.push(Shape::Line(points, ink));
    }

    /// Fills what points surround.
    pub fn area(&mut self, points: Vec<Point>, ink: Ink) {
        self.shapes.push(Shape::Area(points, ink));
    }

    pub fn text(&mut self, at: Point, anchor: Anchor, bold: bool, colour: [u8; 3], text: &str) {
        self.shapes.push(Shape::Text { at, anchor, bold, size: FONT_SIZE, colour, text: text.into() });
    }

    /// A text in large letters.
    pub fn heading(&mut self, at: Point, anchor: Anchor, colour: [u8; 3], text: &str) {
        self.shapes.push(Shape::Text {
            at,
            anchor,
            bold: true,
            size: HEADING_SIZE,
            colour,
            text: text.into(),
        });
    }

    pub fn to_svg(&self) -> String {
        let (width, height) = (self.width, self.height);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"sans-serif\" font-size=\"{FONT_SIZE}\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"{}\"/>\n",
            hex(self.ground)
        );
        for shape in &self.shapes {
            writeln!(svg, "{}", element(shape)).expect("a string takes all");
        }
        svg + "</svg>\n"
    }

    /// # Errors
    /// One line: the picture is too large.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        let size = |length: f64| (length * f64::from(SCALE)).ceil() as u32;
        let mut pixels =
            Pixmap::new(size(self.width), size(self.height)).context("the picture is too large")?;
        let [red, green, blue] = self.ground;
        pixels.fill(Color::from_rgba8(red, green, blue, 0xff));
        let font = Face::parse(include_bytes!("sans.ttf"), 0).context("the font is part of the program")?;
        self.shapes.iter().for_each(|shape| paint(&mut pixels, shape, &font));
        pixels.encode_png().context("cannot encode the picture")
    }
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn element(shape: &Shape) -> String {
    let list =
        |points: &[Point]| points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ");
    match shape {
        Shape::Line(points, Ink { colour, opacity, width }) => format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\" stroke-opacity=\"{opacity}\"/>",
            list(points),
            hex(*colour)
        ),
        Shape::Area(points, Ink { colour, opacity, .. }) => {
            format!(
                "<polygon points=\"{}\" fill=\"{}\" fill-opacity=\"{opacity}\"/>",
                list(points),
                hex(*colour)
            )
        }
        Shape::Text { at: (x, y), anchor, bold, size, colour, text } => {
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            let weight = if *bold { " font-weight=\"bold\"" } else { "" };
            let (colour, text) = (hex(*colour), escaped(text));
            let size = if *size == FONT_SIZE { String::new() } else { format!(" font-size=\"{size}\"") };
            format!(
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\"{weight}{size}>{text}</text>"
            )
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

fn paint(pixels: &mut Pixmap, shape: &Shape, font: &Face) {
    let scale = Transform::from_scale(SCALE, SCALE);
    let paint = |[red, green, blue]: [u8; 3], opacity: f64| {
        let mut paint = Paint { anti_alias: true, ..Paint::default() };
        paint.set_color_rgba8(red, green, blue, (255.0 * opacity).round() as u8);
        paint
    };
    match shape {
        Shape::Line(points, Ink { colour, opacity, width }) => {
            let stroke = Stroke { width: *width as f32, ..Stroke::default() };
            if let Some(path) = path(points) {
                pixels.stroke_path(&path, &paint(*colour, *opacity), &stroke, scale, None);
            }
        }
        Shape::Area(points, Ink { colour, opacity, .. }) => {
            if let Some(path) = path(points) {
                pixels.fill_path(&path, &paint(*colour, *opacity), FillRule::Winding, scale, None);
            }
        }
        Shape::Text { at, anchor, bold, size, colour, text } => {
            let Some(path) = letters(font, *size, *at, *anchor, text) else { return };
            let paint = paint(*colour, 1.0);
            pixels.fill_path(&path, &paint, FillRule::Winding, scale, None);
            if *bold {
                let stroke = Stroke { width: 0.5, ..Stroke::default() };
                pixels.stroke_path(&path, &paint, &stroke, scale, None);
            }
        }
    }
}

/// A path through points; nothing if they are too few.
fn path(points: &[Point]) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for (index, (x, y)) in points.iter().enumerate() {
        let (x, y) = (*x as f32, *y as f32);
        if index == 0 { builder.move_to(x, y) } else { builder.line_to(x, y) }
    }
    builder.finish()
}

/// The outlines of a text.
fn letters(font: &Face, size: f64, (x, y): Point, anchor: Anchor, text: &str) -> Option<Path> {
    let scale = size as f32 / f32::from(font.units_per_em());
    let glyphs: Vec<GlyphId> = text
        .chars()
        .map(|letter| font.glyph_index(letter).or(font.glyph_index('?')).unwrap_or_default())
        .collect();
    let advance = |glyph: &GlyphId| f32::from(font.glyph_hor_advance(*glyph).unwrap_or(0)) * scale;
    let width: f32 = glyphs.iter().map(advance).sum();
    let start = match anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => width / 2.0,
        Anchor::End => width,
    };
    let mut pen = Pen { path: PathBuilder::new(), x: x as f32 - start, y: y as f32, scale };
    for glyph in &glyphs {
        font.outline_glyph(*glyph, &mut pen);
        pen.x += advance(glyph);
    }
    pen.path.finish()
}

/// Draws outlines, whose y axis points up, at a place of the picture, whose y axis points down.
struct Pen {
    path: PathBuilder,
    x: f32,
    y: f32,
    scale: f32,
}

impl Pen {
    fn place(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.scale, self.y - y * self.scale)
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.place(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.place(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.place(x1, y1), self.place(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.place(x1, y1), self.place(x2, y2), self.place(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLACK: Ink = Ink { colour: [0, 0, 0], opacity: 1.0, width: 2.0 };

    #[test]
    fn svg_and_png_show_the_same() {
        let mut picture = Picture::new(40.0, 20.0);
        picture.line(vec![(0.0, 10.0), (20.0, 10.0)], BLACK);
        picture
            .area(vec![(30.0, 0.0), (40.0, 0.0), (40.0, 10.0), (30.0, 10.0)], Ink { opacity: 0.5, ..BLACK });
        picture.text((20.0, 20.0), Anchor::Middle, true, [255, 0, 0], "<kill>");
        let svg = picture.to_svg();
        assert!(svg.contains("points=\"0.0,10.0 20.0,10.0\"") && svg.contains("&lt;kill>"), "{svg}");
        let pixels = Pixmap::decode_png(&picture.to_png().unwrap()).unwrap();
        assert_eq!((pixels.width(), pixels.height()), (80, 40));
        let at = |x, y| pixels.pixel(x, y).map(|pixel| (pixel.red(), pixel.blue())).unwrap();
        assert_eq!([at(20, 20), at(50, 20), at(20, 35)], [(0, 0), (255, 255), (255, 255)]);
        assert_eq!(at(70, 10).0, 127);
        let red = (0..80).any(|x| (20..40).any(|y| at(x, y).0 == 255 && at(x, y).1 < 100));
        assert!(red, "the text is there");
    }
}
