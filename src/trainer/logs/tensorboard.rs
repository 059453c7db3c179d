//! TensorBoard event files: frames with checksums around protobuf messages, one message per row.
//!
//! ```text
//! frame: length of the data, u64 | masked crc32c of the length | data | masked crc32c of the data
//! ```

use std::fs;
use std::path::Path;

use crate::trainer::metrics::Row;
use crate::trainer::protobuf::Message;

const PREFIX: &str = "events.out.tfevents.";

/// A name that sorts after those of all files in `directory`: TensorBoard reads them in that order. So a file may be
/// named by a later second than it was made in, where the clock was set back or another file was made just before.
pub fn free_file_name(directory: &Path) -> String {
    let host = crate::trainer::status::host_name();
    let listed = fs::read_dir(directory).into_iter().flatten().flatten();
    let last = listed.filter_map(|entry| second_of(&entry.file_name().to_string_lossy())).max();
    let now = jiff::Timestamp::now().as_second();
    let second = last.map_or(now, |last| now.max(last.saturating_add(1)));
    format!("{PREFIX}{second:010}.{host}")
}

/// The second in the name of an event file.
fn second_of(name: &str) -> Option<i64> {
    name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok().filter(|second| *second < LAST_SECOND)
}

/// Seconds with more digits do not sort as numbers do.
const LAST_SECOND: i64 = 9_999_999_999;

/// Whether a path names an event file.
pub fn is_event_file(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|name| name.starts_with(PREFIX))
}

/// The frame that every file begins with.
pub fn header() -> Vec<u8> {
    let now = jiff::Timestamp::now().as_millisecond() as f64 / 1e3;
    frame(&Message::new().double(1, now).bytes(3, "brain.Event:2").into_bytes())
}

/// A row as one event at its timestep.
pub fn encode(row: &Row) -> Vec<u8> {
    scalars(row.time, row.timesteps, row.scalars())
}

/// Numbers by name as one event at a timestep.
pub fn scalars<N: AsRef<str>>(
    time: jiff::Timestamp,
    timesteps: u64,
    values: impl IntoIterator<Item = (N, f64)>,
) -> Vec<u8> {
    let scalar = |(tag, value): (N, f64)| Message::new().bytes(1, tag.as_ref()).float(2, value as f32);
    let summary = Message::new().messages(1, values.into_iter().map(scalar));
    let wall_time = time.as_millisecond() as f64 / 1e3;
    let event = Message::new().double(1, wall_time).int(2, timesteps as i64).message(5, summary);
    frame(&event.into_bytes())
}

/// The name of the one event file of a run that has a directory for itself.
pub fn file_name(run: &str) -> String {
    format!("{PREFIX}{run}")
}

fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), data, &masked_crc(data)].concat()
}

/// A checksum of data that holds checksums itself would be weak, hence the mask.
fn masked_crc(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_known_from_tensorboard() {
        // The first frame of a file written by `tensorboard` 2.21 with wall_time 1.0.
        let event = Message::new().double(1, 1.0).bytes(3, "brain.Event:2").into_bytes();
        let framed = frame(&event);
        let hex: String = framed.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "1800000000000000a37f4b2209000000000000f03f1a0d627261696e2e4576656e743a3286bf577a");
    }

    #[test]
    fn names_are_free_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut names = vec![format!("{PREFIX}4000000000.another-host")]; // when the clock was decades ahead
        std::fs::write(dir.path().join(&names[0]), "").unwrap();
        for _ in 0..3 {
            let name = free_file_name(dir.path());
            assert!(is_event_file(&name));
            std::fs::write(dir.path().join(&name), "").unwrap();
            names.push(name);
        }
        assert!(names.is_sorted());
    }
}
