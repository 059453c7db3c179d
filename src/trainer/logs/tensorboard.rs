//! TensorBoard event files: frames with checksums around protobuf messages, one message per row.
//!
//! ```text
//! frame: length of the data, u64 | masked crc32c of the length | data | masked crc32c of the data
//! ```

use std::path::Path;

use crate::trainer::metrics::Row;
use crate::trainer::protobuf::Message;

const PREFIX: &str = "events.out.tfevents.";

/// A name that no file in `directory` has, and that sorts after all of them: TensorBoard reads them in that order.
pub fn free_file_name(directory: &Path) -> String {
    let host = crate::trainer::status::host_name();
    let name = |second: i64| format!("{PREFIX}{second:010}.{host}");
    let taken = |second: &i64| directory.join(name(*second)).exists();
    let now = jiff::Timestamp::now().as_second();
    (now..).find(|second| !taken(second)).map(name).expect("seconds do not end")
}

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
    let scalar = |(tag, value): (String, f64)| Message::new().bytes(1, tag).float(2, value as f32);
    let summary = Message::new().messages(1, row.scalars().map(scalar));
    let wall_time = row.time.as_millisecond() as f64 / 1e3;
    let event = Message::new().double(1, wall_time).int(2, row.timesteps as i64).message(5, summary);
    frame(&event.into_bytes())
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
        let mut names = Vec::new();
        for _ in 0..3 {
            let name = free_file_name(dir.path());
            assert!(is_event_file(&name));
            std::fs::write(dir.path().join(&name), "").unwrap();
            names.push(name);
        }
        assert!(names.is_sorted());
    }
}
