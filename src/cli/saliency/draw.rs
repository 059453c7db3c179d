//! The picture of one observation: a row for each policy with what it sees, its gradient and its integrated gradients.

use crate::algorithms::attribution::Attribution;
use crate::cli::picture::{Anchor, Ink, Picture};
use crate::envs::EnvSpec;

/// Width and height of the largest image, in pixels.
const SIDE: f64 = 132.0;
const GAP: f64 = 14.0;
/// Room for the title of a row, and for that of an image.
const TITLE: f64 = 22.0;
const LABEL: f64 = 18.0;
const BLACK: [u8; 3] = [0; 3];

/// More channels are added up.
const MOST_CHANNELS: usize = 4;

/// What is explained by whom.
pub struct Row {
    pub title: String,
    pub attribution: Attribution,
}

/// How observations are images.
pub struct Images {
    height: usize,
    width: usize,
    channels: usize,
    /// From a channel to the next, and from a place of the image to the next.
    strides: (usize, usize),
}

/// One image of a row.
struct Image {
    label: String,
    /// By rows.
    values: Vec<f32>,
    /// Whether numbers above and below 0 are told apart.
    is_signed: bool,
}

impl Images {
    /// What the observations of an environment are; nothing if they are no images. Of three axes, two that are equal are an image;
    /// else the shorter of the first and the last one are the channels.
    pub fn of(spec: &EnvSpec) -> Option<Images> {
        let is_first = |[a, b, c]: [usize; 3]| a != b && (b == c || a < c);
        let images = |height, width, channels, strides| Some(Images { height, width, channels, strides });
        match spec.obs_shape[..] {
            [height, width] => images(height, width, 1, (0, 1)),
            [channels, height, width] if is_first([channels, height, width]) => {
                images(height, width, channels, (height * width, 1))
            }
            [height, width, channels] => images(height, width, channels, (1, channels)),
            _ => None,
        }
    }

    /// One channel of numbers that lie as an observation does.
    fn channel(&self, numbers: &[f32], channel: usize) -> Vec<f32> {
        let (of_channel, of_place) = self.strides;
        (0..self.height * self.width).map(|place| numbers[channel * of_channel + place * of_place]).collect()
    }

    /// The images of numbers: one for each channel, or the sum of many.
    fn images(&self, what: &str, numbers: &[f32], is_signed: bool) -> Vec<Image> {
        if self.channels > MOST_CHANNELS {
            let mut values = vec![0.0; self.height * self.width];
            for channel in 0..self.channels {
                let own = self.channel(numbers, channel);
                values.iter_mut().zip(own).for_each(|(sum, value)| *sum += value);
            }
            return vec![Image { label: format!("{what}, sum of {}", self.channels), values, is_signed }];
        }
        let label =
            |channel: usize| if self.channels == 1 { what.to_owned() } else { format!("{what} {channel}") };
        let image =
            |channel| Image { label: label(channel), values: self.channel(numbers, channel), is_signed };
        (0..self.channels).map(image).collect()
    }

    /// What is seen and how each of the rows explains its action.
    pub fn picture(&self, obs: &[f32], rows: &[Row]) -> Picture {
        let all: Vec<Vec<Image>> = rows.iter().map(|row| self.row(obs, &row.attribution)).collect();
        let cell = SIDE / self.width.max(self.height) as f64;
        let (width, height) = (cell * self.width as f64, cell * self.height as f64);
        let columns = all.iter().map(Vec::len).max().unwrap_or(0) as f64;
        let of_row = TITLE + LABEL + height + GAP;
        let mut picture = Picture::new(GAP + columns * (width + GAP), GAP + rows.len() as f64 * of_row);
        for (number, (row, images)) in rows.iter().zip(&all).enumerate() {
            let top = GAP + number as f64 * of_row;
            picture.text((GAP, top + 12.0), Anchor::Start, true, BLACK, &row.title);
            for (place, image) in images.iter().enumerate() {
                let left = GAP + place as f64 * (width + GAP);
                picture.text((left, top + TITLE + 12.0), Anchor::Start, false, BLACK, &image.label);
                self.paint(&mut picture, (left, top + TITLE + LABEL), cell, image);
            }
        }
        picture
    }

    fn row(&self, obs: &[f32], attribution: &Attribution) -> Vec<Image> {
        let mut images = self.images("seen", obs, false);
        images.extend(self.images("gradient", &attribution.gradient, true));
        images.extend(self.images("integrated", &attribution.integrated, true));
        images
    }

    fn paint(&self, picture: &mut Picture, (left, top): (f64, f64), cell: f64, image: &Image) {
        let most = image.values.iter().fold(1e-12f32, |most, value| most.max(value.abs()));
        let mut fill = |x: f64, y: f64, width: f64, height: f64, colour| {
            let corners = vec![(x, y), (x + width, y), (x + width, y + height), (x, y + height)];
            picture.area(corners, Ink { colour, opacity: 1.0, width: 0.0 });
        };
        let (width, height) = (cell * self.width as f64, cell * self.height as f64);
        fill(left - 1.0, top - 1.0, width + 2.0, height + 2.0, [0xbb; 3]);
        fill(left, top, width, height, [0xff; 3]);
        for (place, value) in image.values.iter().enumerate() {
            let (column, row) = (place % self.width, place / self.width);
            let colour = colour(value / most, image.is_signed);
            fill(left + cell * column as f64, top + cell * row as f64, cell, cell, colour);
        }
    }
}

/// The colour of a share from -1 to 1: white at 0, red above and blue below; black above where there is nothing below.
fn colour(share: f32, is_signed: bool) -> [u8; 3] {
    let end: [f32; 3] = match (is_signed, share >= 0.0) {
        (false, _) => [20.0, 20.0, 60.0],
        (true, true) => [190.0, 20.0, 30.0],
        (true, false) => [20.0, 70.0, 190.0],
    };
    let part = share.abs().clamp(0.0, 1.0);
    end.map(|end| (255.0 + (end - 255.0) * part) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_found_wherever_they_stand() {
        let of = |shape: &[usize]| Images::of(&EnvSpec::new("x", shape.to_vec(), 2));
        let numbers: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let first = of(&[2, 3, 4]).unwrap();
        assert_eq!(first.channel(&numbers, 1), &numbers[12..]);
        let last = of(&[3, 4, 2]).unwrap();
        assert_eq!(last.channel(&numbers, 1), (0..12).map(|i| (2 * i + 1) as f32).collect::<Vec<_>>());
        assert_eq!((last.height, last.width), (3, 4));
        assert_eq!(of(&[4, 6]).unwrap().channel(&numbers, 0), numbers);
        assert!(of(&[24]).is_none());
        let channels = |shape: &[usize]| of(shape).unwrap().channels;
        assert_eq!([channels(&[6, 6, 42]), channels(&[42, 6, 6]), channels(&[2, 11, 11])], [42, 42, 2]);
    }

    #[test]
    fn many_channels_are_added_up() {
        let images = Images::of(&EnvSpec::new("x", vec![2, 2, 6], 2)).unwrap();
        let numbers: Vec<f32> = (0..24).map(|i| if i % 6 == 0 { 1.0 } else { -0.25 }).collect();
        let shown = images.images("gradient", &numbers, true);
        assert_eq!((shown.len(), shown[0].values.clone()), (1, vec![-0.25; 4]));
    }
}
