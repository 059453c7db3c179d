//! Parameters in safetensors files, with what a reader needs to rebuild the network in the metadata.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};
use safetensors::{Dtype, SafeTensors, View};

use super::checkpoint::Checkpoint;
use super::files::write_durably;
use super::run_dir::{checkpoints, holder, numbered_files, params_beside};
use super::status::{PROGRAM, program_of};
use crate::algorithms::NamedArrays;
use crate::array::{ArrayType, DType, HostArray};
use crate::files;

/// The file of the best parameters so far.
pub const BEST_PARAMS: &str = "best_params.safetensors";

/// What a parameter file says of itself: environment, network, sizes, update.
pub type Metadata = BTreeMap<String, String>;

/// Writes a parameter file durably. Equal parameters and metadata give equal bytes.
///
/// # Errors
/// One line that names the file; what was there before is untouched.
pub fn save_params(path: &Path, params: &[(String, HostArray)], metadata: &Metadata) -> Result<()> {
    let tensors = params.iter().map(|(name, array)| (name, Tensor(array)));
    let bytes = safetensors::serialize(tensors, None)
        .with_context(|| format!("cannot encode parameters for {}", path.display()))?;
    let (header, data) = split_header(&bytes).expect("the encoder writes a whole header");
    let header = add_metadata(header, metadata)?;
    write_durably(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        file.write_all(data)
    })
}

/// Reads a parameter file: the arrays in the order of their names, and the metadata. Of a checkpoint these are all arrays of the
/// state, the parameters among them.
///
/// # Errors
/// One line: missing, unreadable, or neither a safetensors file nor a checkpoint.
pub fn load_params(path: &Path) -> Result<(NamedArrays, Metadata)> {
    if path.extension().is_some_and(|extension| extension == "ckpt" || extension == "pt") {
        return of_checkpoint(path, Checkpoint::load(path)?);
    }
    let bytes = read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => anyhow!("there are no parameters {}", path.display()),
        io::ErrorKind::InvalidData => {
            anyhow!("{} is no safetensors file, or damaged: {error}", path.display())
        }
        _ => anyhow!("cannot read {}: {error}", path.display()),
    })?;
    let damaged = |error| anyhow!("{} is no safetensors file, or damaged: {error}", path.display());
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    let mut tensors = SafeTensors::deserialize(&bytes).map_err(damaged)?.tensors();
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut params = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let Some(dtype) = from_safetensors(tensor.dtype()) else {
            bail!("{}: {name} has dtype {:?}, which lockstep does not know", path.display(), tensor.dtype());
        };
        let array_type = ArrayType::new(dtype, tensor.shape());
        let Some(array) = HostArray::from_bytes(&array_type, tensor.data()) else {
            bail!("{} is damaged: {name} cannot be an array {array_type}", path.display());
        };
        params.push((name, array));
    }
    Ok((params, metadata))
}

/// The arrays of a checkpoint, and of the metadata what its configuration says.
fn of_checkpoint(path: &Path, checkpoint: Checkpoint) -> Result<(NamedArrays, Metadata)> {
    let Checkpoint { config, env, progress, state: mut params, .. } = checkpoint;
    params.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut metadata = Metadata::from([
        ("env".into(), env),
        ("update".into(), progress.update.to_string()),
        ("timesteps".into(), progress.timesteps.to_string()),
    ]);
    let config: toml::Table = config.parse().unwrap_or_default();
    let settings = config.into_iter().filter_map(|(key, value)| Some((key, text(value)?)));
    settings.for_each(|(key, value)| _ = metadata.entry(key).or_insert(value));
    if let Some(algorithm) = metadata.remove("algo") {
        metadata.insert("algorithm".into(), algorithm);
    }
    if let Some(program) = program_of(holder(path)) {
        metadata.insert(PROGRAM.into(), program);
    }
    Ok((params, metadata))
}

/// A setting as the metadata has it: a list with commas, and no entry for an empty one.
fn text(setting: toml::Value) -> Option<String> {
    match setting {
        toml::Value::String(text) => Some(text),
        toml::Value::Array(list) if list.is_empty() => None,
        toml::Value::Array(list) => Some(list.into_iter().filter_map(text).collect::<Vec<_>>().join(",")),
        other => Some(other.to_string()),
    }
}

/// The parameters of a run: those of its end, else the newest that were saved on the way, in a file of their own or in a
/// checkpoint, else the best of an evaluation.
pub fn params_of_run(run: &Path) -> Option<PathBuf> {
    let there = |name: &str| Some(run.join(name)).filter(|path| path.is_file());
    let saved = || {
        let alone = numbered_files(run, "params_", ".safetensors").ok()?.pop();
        let newest =
            checkpoints(run).ok()?.pop().into_iter().chain(alone).max_by_key(|(update, _)| *update)?.1;
        // The parameters alone are smaller.
        let beside = params_beside(&newest);
        Some(if beside.is_file() { beside } else { newest })
    };
    there("final_params.safetensors").or_else(saved).or_else(|| there(BEST_PARAMS))
}

/// All of a file, after its first bytes have said that it is as long as its header wants it.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    const HEADER_LIMIT: u64 = 16 << 20;
    let (mut file, length) = files::open(path)?;
    let wrong = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_string());
    let mut bytes = vec![0; 8];
    file.read_exact(&mut bytes).map_err(|_| wrong("it is too short"))?;
    let header = u64::from_le_bytes(*bytes.first_chunk().expect("eight bytes"));
    if header > HEADER_LIMIT.min(length.saturating_sub(8)) {
        return Err(wrong("its header is longer than it may be"));
    }
    file.by_ref().take(header).read_to_end(&mut bytes)?;
    let metadata: safetensors::tensor::Metadata =
        serde_json::from_slice(&bytes[8..]).map_err(|error| wrong(&format!("its header: {error}")))?;
    let data = metadata.data_len() as u64;
    if (8 + header).checked_add(data) != Some(length) {
        return Err(wrong("it is not as long as its header says"));
    }
    file.take(data).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The parameter files in a directory and everything below it, the newest first; what a rewound run has set aside
/// is left out.
pub fn find_params(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect_params(directory, &mut found);
    // Of two that are equally old, the end of the run is the later one: `final_` comes before `params_`.
    found.sort_by(|(a_time, a), (b_time, b)| b_time.cmp(a_time).then_with(|| a.cmp(b)));
    found.into_iter().map(|(_, path)| path).collect()
}

fn collect_params(directory: &Path, found: &mut Vec<(SystemTime, PathBuf)>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() && name != "superseded" && !name.starts_with('.') {
            collect_params(&path, found);
        } else if metadata.is_file() && name.ends_with(".safetensors") && !name.starts_with('.') {
            found.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), path));
        }
    }
}

/// The JSON header and the data after it.
fn split_header(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (header, data) = rest.split_at_checked(u64::from_le_bytes(*length) as usize)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

/// Puts the metadata in front of the tensors. The crate would write it in the random order of a hash map, and
/// no two files of the same parameters would be equal.
fn add_metadata(header: &str, metadata: &Metadata) -> Result<String> {
    let tensors = header.trim_end().trim_start_matches('{');
    let comma = if tensors == "}" { "" } else { "," };
    let mut header = format!("{{\"__metadata__\":{}{comma}{tensors}", serde_json::to_string(metadata)?);
    let aligned = header.len().next_multiple_of(8);
    header.push_str(&" ".repeat(aligned - header.len()));
    Ok(header)
}

struct Tensor<'a>(&'a HostArray);

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        to_safetensors(self.0.dtype())
    }
    fn shape(&self) -> &[usize] {
        self.0.shape()
    }
    fn data(&self) -> Cow<'_, [u8]> {
        self.0.to_bytes()
    }
    fn data_len(&self) -> usize {
        self.0.array_type().byte_size()
    }
}

fn to_safetensors(dtype: DType) -> Dtype {
    match dtype {
        DType::Bool => Dtype::BOOL,
        DType::U8 => Dtype::U8,
        DType::I32 => Dtype::I32,
        DType::U32 => Dtype::U32,
        DType::U64 => Dtype::U64,
        DType::BF16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
    }
}

fn from_safetensors(dtype: Dtype) -> Option<DType> {
    DType::ALL.into_iter().find(|known| to_safetensors(*known) == dtype)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        [("env", "cartpole"), ("hidden_dim", "64"), ("quote", "a \"b\"\n")]
            .map(|(key, value)| (key.into(), value.into()))
            .into()
    }

    fn params() -> NamedArrays {
        let mut params: NamedArrays = DType::ALL
            .into_iter()
            .map(|dtype| (format!("params.{dtype}"), HostArray::zeros(&ArrayType::new(dtype, [3, 1]))))
            .collect();
        params.push(("params.actor.0.weight".into(), HostArray::new(&[2, 2], vec![1.0f32, 2.0, -3.0, 4.5])));
        params.sort_by(|(a, _), (b, _)| a.cmp(b));
        params
    }

    #[test]
    fn a_list_of_settings_is_one_text_with_commas() {
        let config: toml::Table =
            "conv = [\"32\", \"64/2\"]\nnone = []\nlr = 0.5\nrnn = \"gru\"".parse().unwrap();
        let of = |key: &str| text(config[key].clone());
        assert_eq!(of("conv").as_deref(), Some("32,64/2"));
        assert_eq!(of("none"), None);
        assert_eq!((of("lr").as_deref(), of("rnn").as_deref()), (Some("0.5"), Some("gru")));
    }

    #[test]
    fn saved_and_loaded_is_equal_and_two_files_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        save_params(&a, &params(), &metadata()).unwrap();
        save_params(&b, &params(), &metadata()).unwrap();
        assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
        assert_eq!(load_params(&a).unwrap(), (params(), metadata()));
        save_params(&a, &[], &Metadata::new()).unwrap();
        assert_eq!(load_params(&a).unwrap(), (Vec::new(), Metadata::new()));
    }

    #[test]
    fn the_newest_file_comes_first_and_superseded_ones_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["a/params_9.safetensors", "b/params_1.safetensors", "b/final_params.safetensors"];
        let hidden =
            ["b/superseded/params_2.safetensors", "b/.final_params.safetensors.tmp", "b/checkpoint_1.ckpt"];
        let start = SystemTime::now();
        for (age, name) in names.iter().chain(&hidden).enumerate() {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let written = start + std::time::Duration::from_secs(age.min(1) as u64);
            fs::File::create(&path).unwrap().set_modified(written).unwrap();
        }
        let found = find_params(dir.path());
        let found: Vec<_> = found.iter().map(|path| path.strip_prefix(dir.path()).unwrap()).collect();
        assert_eq!(found, [names[2], names[1], names[0]].map(Path::new));
        assert_eq!(find_params(&dir.path().join("nowhere")), Vec::<PathBuf>::new());
    }

    #[test]
    fn bad_files_get_one_line_each() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.safetensors");
        let message = || load_params(&path).unwrap_err().to_string();
        assert_eq!(message(), format!("there are no parameters {}", path.display()));
        save_params(&path, &params(), &metadata()).unwrap();
        let good = fs::read(&path).unwrap();
        for bad in [&good[..good.len() - 1], &good[..50], b"", b"LOCKSTEP and so on", &[255u8; 100]] {
            fs::write(&path, bad).unwrap();
            let text = message();
            assert!(text.contains("is no safetensors file, or damaged") && !text.contains('\n'), "{text}");
        }
        // Sizes that no array has, a length of terabytes, and a file of terabytes.
        let header =
            |shape: &str| format!(r#"{{"x":{{"dtype":"F32","shape":{shape},"data_offsets":[0,0]}}}}"#);
        for shape in ["[0,9223372036854775807,4]", "[9223372036854775807,4,0]", "[4294967296,4294967296]"] {
            let header = header(shape);
            fs::write(&path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()).unwrap();
            assert!(message().contains("damaged") && !message().contains('\n'), "{}", message());
        }
        fs::write(&path, (1u64 << 40).to_le_bytes()).unwrap();
        assert!(message().contains("longer than it may be"), "{}", message());
        fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(message().contains("is no safetensors file, or damaged"), "{}", message());
        fs::write(&path, &good).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(message().contains("not as long as its header says"), "{}", message());

        let foreign = br#"{"x":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#;
        let length = (foreign.len() as u64).to_le_bytes();
        fs::write(&path, [&length[..], foreign, &[0; 8]].concat()).unwrap();
        assert!(message().ends_with("x has dtype I64, which lockstep does not know"), "{}", message());
    }
}
