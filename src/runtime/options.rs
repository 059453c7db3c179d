//! What a program is compiled with, and its encoding.
//!
//! PJRT takes a serialized `CompileOptionsProto`. Of its fields lockstep sets few, so the few bytes of
//! protobuf are written by hand: `executable_build_options` (3) with `num_replicas` (4), `num_partitions` (5)
//! and, over several processes, `device_assignment` (9), and the map `env_option_overrides` (7) from a name to a value of one of four kinds.

use super::DeviceKind;

/// How a program is compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct CompileOptions {
    /// How many devices run the program side by side, those of all processes; `stablehlo.all_reduce` works across them.
    pub num_replicas: usize,
    /// XLA's numbers of those devices, where it cannot choose them itself: in several processes.
    pub devices: Vec<i64>,
    /// XLA's flags for this program only, by name without dashes, such as `xla_cpu_enable_fast_math`.
    pub overrides: Vec<(String, OptionValue)>,
}

impl Default for CompileOptions {
    /// One replica, XLA's own defaults.
    fn default() -> Self {
        CompileOptions { num_replicas: 1, devices: Vec::new(), overrides: Vec::new() }
    }
}

/// The value of one of XLA's flags.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionValue {
    Text(String),
    Bool(bool),
    Int(i64),
    Float(f64),
}

impl CompileOptions {
    /// The same, and what makes programs for `kind` give the same bits in every run: on cuda the first flag ends
    /// choosing kernels by timing them, the second refuses or replaces those whose sums have no fixed order, the third
    /// leaves matrix products to cuBLAS, since without timing XLA has no choice for kernels of its own.
    pub(super) fn deterministic(mut self, kind: DeviceKind) -> Self {
        let flags: &[(&str, bool)] = match kind {
            DeviceKind::Cuda => &[
                ("xla_gpu_deterministic_ops", true),
                ("xla_gpu_exclude_nondeterministic_ops", true),
                ("xla_gpu_enable_triton_gemm", false),
            ],
            DeviceKind::Cpu | DeviceKind::Tpu => &[],
        };
        self.overrides.extend(flags.iter().map(|&(flag, value)| (flag.to_owned(), OptionValue::Bool(value))));
        self
    }

    /// The options as a serialized `CompileOptionsProto`.
    pub(super) fn to_proto(&self) -> Vec<u8> {
        let mut build_options = Message::default();
        build_options.int(4, self.num_replicas as u64);
        build_options.int(5, 1);
        if !self.devices.is_empty() {
            build_options.bytes(9, &self.assignment().0);
        }

        let mut options = Message::default();
        options.bytes(3, &build_options.0);
        for (name, value) in &self.overrides {
            let mut entry = Message::default();
            entry.bytes(1, name.as_bytes());
            entry.bytes(2, &value.to_proto());
            options.bytes(7, &entry.0);
        }
        options.0
    }
}

impl CompileOptions {
    /// A `DeviceAssignmentProto` of one partition.
    fn assignment(&self) -> Message {
        let mut devices = Message::default();
        self.devices.iter().for_each(|&id| devices.varint(id as u64));
        let mut computation = Message::default();
        computation.bytes(1, &devices.0);
        let mut assignment = Message::default();
        assignment.int(1, self.devices.len() as u64);
        assignment.int(2, 1);
        assignment.bytes(3, &computation.0);
        assignment
    }
}

impl OptionValue {
    /// The value as a serialized `OptionOverrideProto`.
    fn to_proto(&self) -> Vec<u8> {
        let mut message = Message::default();
        match self {
            OptionValue::Text(text) => message.bytes(1, text.as_bytes()),
            OptionValue::Bool(value) => message.int(2, *value as u64),
            OptionValue::Int(value) => message.int(3, *value as u64),
            OptionValue::Float(value) => message.double(4, *value),
        }
        message.0
    }
}

/// A protobuf message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn int(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// Seven bits at a time, the lowest first; the top bit says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_six_bytes() {
        assert_eq!(CompileOptions::default().to_proto(), [0x1a, 4, 0x20, 1, 0x28, 1]);
    }

    #[test]
    fn devices_are_an_assignment() {
        let proto =
            CompileOptions { num_replicas: 2, devices: vec![3, 300], ..Default::default() }.to_proto();
        assert_eq!(
            proto,
            [0x1a, 17, 0x20, 2, 0x28, 1, 0x4a, 11, 0x08, 2, 0x10, 1, 0x1a, 5, 0x0a, 3, 3, 0xac, 2]
        );
    }

    #[test]
    fn overrides_are_map_entries() {
        let overrides =
            vec![("ab".to_string(), OptionValue::Bool(true)), ("c".into(), OptionValue::Int(300))];
        let proto = CompileOptions { overrides, ..Default::default() }.to_proto();
        assert_eq!(&proto[6..16], [0x3a, 8, 0x0a, 2, b'a', b'b', 0x12, 2, 0x10, 1]);
        assert_eq!(&proto[16..], [0x3a, 8, 0x0a, 1, b'c', 0x12, 3, 0x18, 0xac, 2]);
    }

    #[test]
    fn deterministic_programs_have_more_options_on_cuda_only() {
        let proto = |kind| CompileOptions::default().deterministic(kind).to_proto();
        assert_eq!(proto(DeviceKind::Cpu), CompileOptions::default().to_proto());
        assert_eq!(proto(DeviceKind::Tpu), CompileOptions::default().to_proto());
        let proto = proto(DeviceKind::Cuda);
        let mut rest = &proto[6..];
        for (name, value) in [
            ("xla_gpu_deterministic_ops", 1),
            ("xla_gpu_exclude_nondeterministic_ops", 1),
            ("xla_gpu_enable_triton_gemm", 0),
        ] {
            let entry = [&[0x0a, name.len() as u8], name.as_bytes(), &[0x12, 2, 0x10, value]].concat();
            assert_eq!(rest[..2], [0x3a, entry.len() as u8], "{name}");
            assert_eq!(rest[2..][..entry.len()], entry, "{name}");
            rest = &rest[2 + entry.len()..];
        }
        assert!(rest.is_empty());
    }
}
