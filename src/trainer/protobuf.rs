//! The writing half of protobuf, as much of it as two log formats need.
//!
//! TensorBoard's events and W&B's records are protobuf messages of a few fields. Their schemas would bring a
//! compiler and generated code; written by hand, each message is one expression that shows its field numbers.

/// A message under construction. Fields appear in the order in which they are added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    bytes: Vec<u8>,
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    pub fn new() -> Self {
        Self::default()
    }

    /// An integer, enumeration or bool (`int64`, `uint32`, `bool`, ...; not `sint64`).
    pub fn int(self, field: u64, value: i64) -> Self {
        self.key(field, VARINT).varint(value as u64)
    }

    pub fn double(self, field: u64, value: f64) -> Self {
        self.key(field, FIXED64).raw(&value.to_le_bytes())
    }

    pub fn float(self, field: u64, value: f32) -> Self {
        self.key(field, FIXED32).raw(&value.to_le_bytes())
    }

    /// A string or bytes.
    pub fn bytes(self, field: u64, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.key(field, LENGTH_DELIMITED).varint(value.len() as u64).raw(value)
    }

    /// A string, left out if it is empty.
    pub fn text(self, field: u64, value: &str) -> Self {
        if value.is_empty() { self } else { self.bytes(field, value) }
    }

    pub fn message(self, field: u64, value: Message) -> Self {
        self.bytes(field, value.bytes)
    }

    /// A repeated field, one entry per message.
    pub fn messages(self, field: u64, values: impl IntoIterator<Item = Message>) -> Self {
        values.into_iter().fold(self, |message, value| message.message(field, value))
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn key(self, field: u64, wire_type: u64) -> Self {
        self.varint(field << 3 | wire_type)
    }

    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_encoding_guide() {
        assert_eq!(Message::new().int(1, 150).into_bytes(), [0x08, 0x96, 0x01]);
        assert_eq!(Message::new().int(1, -2).into_bytes().len(), 11);
        assert_eq!(
            Message::new().bytes(2, "testing").into_bytes(),
            [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]
        );
        let inner = Message::new().int(1, 150);
        assert_eq!(Message::new().message(3, inner).into_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        assert_eq!(Message::new().float(2, 1.0).into_bytes(), [0x15, 0, 0, 0x80, 0x3f]);
        assert_eq!(Message::new().double(1, 1.0).into_bytes(), [0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        assert_eq!(Message::new().int(16, 0).text(4, "").into_bytes(), [0x80, 0x01, 0]);
    }
}
