//! Checkpoints: everything needed to continue a run bit for bit, in one file.
//!
//! ```text
//! magic "LOCKSTEP" | format version, u32 | length of the body, u64 | body | sha256 of all before
//! body: header (bincode: configuration, counters, logs, names and types of the arrays; other counters before version 3)
//!     | since version 2: header of the best parameters (bincode) | since version 4: the windows (bincode)
//!     | bytes of the arrays, then of the best parameters
//! ```
//!
//! All numbers are little-endian. The arrays stand outside the bincode header because they are nearly all of the
//! file: they are written and read as plain bytes, at the speed of the disk and the checksum. Loading tells apart
//! what can be wrong with a file, because the remedies differ: another file, a newer lockstep, an older checkpoint.
//!
//! A file may come from anywhere, and its checksum is one that anybody can take. So the first bytes and the length are looked
//! at before anything else is read, and no number in the file is believed: memory is taken for what is really there.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::files::write_durably;
use super::progress::Progress;
use crate::algorithms::NamedArrays;
use crate::array::{ArrayType, HostArray};
use crate::files;

/// The format that this program writes. It reads this one and all before it, and none that is newer.
pub const FORMAT_VERSION: u32 = 4;

/// What a file of this format calls itself where formats are named.
pub const FORMAT: &str = "lockstep_v4";
/// What the checkpoints of runs call themselves that learn nothing: JSON with a few counters.
pub const PLAIN_FORMAT: &str = "json_v1";

const MAGIC: &[u8; 8] = b"LOCKSTEP";
const PREFIX: usize = MAGIC.len() + size_of::<u32>() + size_of::<u64>();
const CHECKSUM: usize = 32;
/// The most bytes of a header; that of a large run has some thousands.
const HEADER_LIMIT: usize = 64 << 20;

/// A run at the end of one update.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The resolved configuration, as in the run's `config.toml`.
    pub config: String,
    /// The environment's name.
    pub env: String,
    /// Counters, and the logs up to here.
    pub progress: Progress,
    /// The learner's state.
    pub state: NamedArrays,
    /// The best parameters that an evaluation has found.
    pub best: Option<Best>,
}

/// The parameters with the highest mean return of an evaluation so far; of equal ones, the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    pub update: u64,
    pub timesteps: u64,
    pub mean_return: f64,
    pub params: NamedArrays,
}

/// All of a checkpoint but the values of its arrays, and its best parameters.
#[derive(Serialize, Deserialize)]
struct Header<P = Progress> {
    config: String,
    env: String,
    progress: P,
    arrays: Vec<(String, ArrayType)>,
}

/// The counters before version 3, whose interval cannot be continued: it had other metrics.
#[derive(Deserialize)]
struct OldProgress {
    update: u64,
    timesteps: u64,
    episodes: u64,
    seconds: f64,
    _interval: (Vec<String>, Vec<f64>, u64, f64, f64, f64),
    offsets: BTreeMap<String, u64>,
}

impl From<Header<OldProgress>> for Header {
    fn from(Header { config, env, progress, arrays }: Header<OldProgress>) -> Self {
        let OldProgress { update, timesteps, episodes, seconds, offsets, .. } = progress;
        let progress = Progress { update, timesteps, episodes, seconds, offsets, ..Progress::new(&[]) };
        Self { config, env, progress, arrays }
    }
}

/// All of the best parameters but their values.
#[derive(Serialize, Deserialize)]
struct BestHeader {
    update: u64,
    timesteps: u64,
    mean_return: f64,
    arrays: Vec<(String, ArrayType)>,
}

impl BestHeader {
    fn of(best: &Best) -> Self {
        let Best { update, timesteps, mean_return, ref params } = *best;
        Self { update, timesteps, mean_return, arrays: types(params) }
    }
}

fn types(arrays: &[(String, HostArray)]) -> Vec<(String, ArrayType)> {
    arrays.iter().map(|(name, array)| (name.clone(), array.array_type())).collect()
}

/// Why a file could not be loaded as a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no checkpoint {}", .0.display())]
    Missing(PathBuf),
    #[error("cannot read {}: {}", .0.display(), .1)]
    Unreadable(PathBuf, io::Error),
    #[error("{} is not a lockstep checkpoint", .0.display())]
    Foreign(PathBuf),
    #[error("{} is the checkpoint of a run that learns nothing ({PLAIN_FORMAT}): there is nothing to continue or to play", .0.display())]
    Plain(PathBuf),
    #[error("{} has checkpoint format {}, newer than {FORMAT_VERSION}; load it with a newer lockstep", .0.display(), .1)]
    Newer(PathBuf, u32),
    #[error("{} is truncated: {} of {} bytes are there", .0.display(), .1, .2)]
    Truncated(PathBuf, u64, u64),
    #[error("{} is damaged: {}", .0.display(), .1)]
    Damaged(PathBuf, &'static str),
    #[error("{} does not fit this program: {}", .0.display(), .1)]
    Mismatch(PathBuf, String),
}

impl Error {
    /// Whether the file was once a good checkpoint, so that an older one beside it may help.
    pub fn is_damage(&self) -> bool {
        matches!(self, Error::Unreadable(..) | Error::Foreign(_) | Error::Truncated(..) | Error::Damaged(..))
    }
}

impl Checkpoint {
    /// Writes the file durably: beside its final name, then renamed.
    ///
    /// # Errors
    /// One line that names the file; what was there before is untouched.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        let header: Header = Header {
            config: self.config.clone(),
            env: self.env.clone(),
            progress: self.progress.clone(),
            arrays: types(&self.state),
        };
        let best = self.best.as_ref().map(BestHeader::of);
        let header = encode_header(&(header, best, &self.progress.windows))?;
        let arrays = || self.state.iter().chain(self.best.iter().flat_map(|best| &best.params));
        let array_bytes: usize = arrays().map(|(_, array)| array.array_type().byte_size()).sum();
        let body_length = (header.len() + array_bytes) as u64;
        write_durably(path, |file| {
            let mut file = Hashing { inner: file, hash: Sha256::new() };
            file.write_all(MAGIC)?;
            file.write_all(&FORMAT_VERSION.to_le_bytes())?;
            file.write_all(&body_length.to_le_bytes())?;
            file.write_all(&header)?;
            for (_, array) in arrays() {
                file.write_all(&array.to_bytes())?;
            }
            let checksum = file.hash.finalize();
            file.inner.write_all(&checksum)
        })
    }

    /// Reads a file and checks magic, version, length and checksum.
    ///
    /// # Errors
    /// An [`Error`] of one line, which says what is wrong with the file.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Error::Missing(path.into()),
            _ => Error::Unreadable(path.into(), error),
        };
        let (mut file, length) = files::open(path).map_err(unreadable)?;
        read(path, &mut file, length)
    }

    /// Puts the arrays into the order of `types`, after checking that there are exactly those.
    ///
    /// # Errors
    /// [`Error::Mismatch`], which names the arrays that differ.
    pub fn match_state(&mut self, path: &Path, types: &[(String, ArrayType)]) -> Result<(), Error> {
        let differences = differences(&self.state, types);
        if !differences.is_empty() {
            return Err(Error::Mismatch(path.into(), summary(&differences)));
        }
        let position = |name: &str| types.iter().position(|(other, _)| other == name);
        self.state.sort_by_cached_key(|(name, _)| position(name));
        Ok(())
    }
}

/// Reads a file of `length` bytes: its frame first, then twice its content, for the checksum and for the values.
fn read(path: &Path, file: &mut (impl Read + Seek), length: u64) -> Result<Checkpoint, Error> {
    let unreadable = |error| Error::Unreadable(path.into(), error);
    let mut prefix = Vec::with_capacity(PREFIX);
    file.take(PREFIX as u64).read_to_end(&mut prefix).map_err(unreadable)?;
    let (version, body_length) = checked_prefix(path, &prefix, length)?;

    file.rewind().map_err(unreadable)?;
    let mut hash = Hashing { inner: &mut io::sink(), hash: Sha256::new() };
    io::copy(&mut file.take(PREFIX as u64 + body_length), &mut hash).map_err(unreadable)?;
    let mut checksum = [0; CHECKSUM];
    file.read_exact(&mut checksum).map_err(unreadable)?;
    if hash.hash.finalize()[..] != checksum {
        return Err(Error::Damaged(path.into(), "its checksum does not match"));
    }

    file.seek(SeekFrom::Start(PREFIX as u64)).map_err(unreadable)?;
    let body = BufReader::with_capacity(1 << 20, file).take(body_length);
    decode(version, body).ok_or(Error::Damaged(path.into(), "its content cannot be decoded"))
}

/// The format version, and the length of the body of a file whose first bytes and length are right.
fn checked_prefix(path: &Path, prefix: &[u8], length: u64) -> Result<(u32, u64), Error> {
    let damaged = |reason| Error::Damaged(path.into(), reason);
    let magic = &prefix[..prefix.len().min(MAGIC.len())];
    if prefix.first() == Some(&b'{') {
        return Err(Error::Plain(path.into()));
    }
    if prefix.is_empty() || !MAGIC.starts_with(magic) {
        return Err(Error::Foreign(path.into()));
    }
    let truncated = |whole: u64| Error::Truncated(path.into(), length, whole);
    if prefix.len() < PREFIX {
        return Err(truncated((PREFIX + CHECKSUM) as u64));
    }
    let version = u32::from_le_bytes(prefix[8..12].try_into().expect("four bytes"));
    let body_length = u64::from_le_bytes(prefix[12..].try_into().expect("eight bytes"));
    if version > FORMAT_VERSION {
        return Err(Error::Newer(path.into(), version));
    }
    if version == 0 {
        return Err(damaged("there is no format 0"));
    }
    let whole = body_length.saturating_add((PREFIX + CHECKSUM) as u64);
    match length.cmp(&whole) {
        std::cmp::Ordering::Less => Err(truncated(whole)),
        std::cmp::Ordering::Greater => Err(damaged("there are bytes after its end")),
        std::cmp::Ordering::Equal => Ok((version, body_length)),
    }
}

fn decode(version: u32, mut body: Take<impl Read>) -> Option<Checkpoint> {
    let Header::<Progress> { config, env, mut progress, arrays } = match version {
        ..=2 => decode_header::<Header<OldProgress>>(&mut body)?.into(),
        _ => decode_header(&mut body)?,
    };
    let best: Option<BestHeader> = if version >= 2 { decode_header(&mut body)? } else { None };
    progress.windows = if version >= 4 { decode_header(&mut body)? } else { None };
    let state = decode_arrays(arrays, &mut body)?;
    let best = match best {
        Some(BestHeader { update, timesteps, mean_return, arrays }) => {
            Some(Best { update, timesteps, mean_return, params: decode_arrays(arrays, &mut body)? })
        }
        None => None,
    };
    let is_whole = body.limit() == 0 && progress.is_sound();
    is_whole.then_some(Checkpoint { config, env, progress, state, best })
}

fn decode_arrays(types: Vec<(String, ArrayType)>, body: &mut Take<impl Read>) -> Option<NamedArrays> {
    let decode = |(name, array_type): (String, ArrayType)| {
        let size = array_type.checked_byte_size().filter(|size| *size as u64 <= body.limit())?;
        let mut values = vec![0; size];
        body.read_exact(&mut values).ok()?;
        Some((name, HostArray::from_bytes(&array_type, &values)?))
    };
    types.into_iter().map(decode).collect()
}

// All that the format has of bincode.

fn encode_header(header: &impl Serialize) -> anyhow::Result<Vec<u8>> {
    Ok(bincode::serde::encode_to_vec(header, encoding())?)
}

fn decode_header<T: serde::de::DeserializeOwned>(body: &mut impl Read) -> Option<T> {
    bincode::serde::decode_from_std_read(body, encoding()).ok()
}

/// The limit holds for what lengths in the header claim as well, before memory is taken for it.
fn encoding() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<HEADER_LIMIT>()
}

/// What tells `arrays` apart from `types`, one phrase for each name.
pub fn differences(arrays: &[(String, HostArray)], types: &[(String, ArrayType)]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, expected) in types {
        match arrays.iter().find(|(other, _)| other == name) {
            None => found.push(format!("{name} ({expected}) is missing")),
            Some((_, array)) if array.array_type() != *expected => {
                found.push(format!("{name} is {}, expected {expected}", array.array_type()));
            }
            Some(_) => {}
        }
    }
    for (name, array) in arrays {
        if !types.iter().any(|(other, _)| other == name) {
            // The name comes from a file.
            found.push(format!("{} ({}) is unknown", name.escape_debug(), array.array_type()));
        }
    }
    found
}

/// The first few differences in one line.
pub fn summary(differences: &[String]) -> String {
    const SHOWN: usize = 3;
    let mut text = differences.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if differences.len() > SHOWN {
        text += &format!("; and {} more", differences.len() - SHOWN);
    }
    text
}

/// Writes through and hashes what it writes.
struct Hashing<'a> {
    inner: &'a mut dyn Write,
    hash: Sha256,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::algorithms::Metric;
    use crate::algorithms::metrics::Aggregate;
    use crate::array::DType;
    use crate::trainer::tally::Tally;

    fn sample() -> Checkpoint {
        let entropy = Metric {
            name: "train/entropy".into(),
            aggregate: Aggregate::Mean,
            unit: "nats",
            description: "".into(),
            healthy: None,
            checks: Vec::new(),
        };
        let mut progress = Progress::new(&[entropy]);
        progress.update = 7;
        progress.offsets.insert("metrics.jsonl".into(), 1234);
        let mut windows = Tally::new();
        (windows.ticks, windows.episodes) = (12, 3);
        progress.windows = Some(windows);
        Checkpoint {
            config: "env = \"cartpole\"\n".into(),
            env: "cartpole".into(),
            progress,
            state: vec![
                ("params.w".into(), HostArray::new(&[2, 3], vec![1.5f32, -2.0, f32::NAN, 0.0, 1e-30, 7.0])),
                ("mask".into(), HostArray::new(&[3], vec![true, false, true])),
                ("key".into(), HostArray::new(&[2], vec![u32::MAX, 5])),
                ("empty".into(), HostArray::new(&[0, 4], Vec::<f64>::new())),
                ("count".into(), HostArray::scalar(u64::MAX)),
            ],
            best: Some(Best {
                update: 5,
                timesteps: 500,
                mean_return: -1.25,
                params: vec![("params.w".into(), HostArray::new(&[2], vec![0.5f32, 8.0]))],
            }),
        }
    }

    fn saved() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint_7.ckpt");
        sample().save(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        (dir, path, bytes)
    }

    #[test]
    fn saved_and_loaded_is_equal_to_the_bit() {
        let (_dir, path, _) = saved();
        let (loaded, original) = (Checkpoint::load(&path).unwrap(), sample());
        assert_eq!((&loaded.config, &loaded.env), (&original.config, &original.env));
        assert_eq!((&loaded.progress, &loaded.best), (&original.progress, &original.best));
        for ((name, array), (expected_name, expected)) in loaded.state.iter().zip(&original.state) {
            assert_eq!((name, array.array_type()), (expected_name, expected.array_type()));
            assert_eq!(array.to_bytes(), expected.to_bytes());
        }
    }

    #[test]
    fn each_kind_of_bad_file_has_its_own_message() {
        let (dir, path, good) = saved();
        let message = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let text = Checkpoint::load(&path).unwrap_err().to_string();
            assert!(!text.contains('\n'));
            text.replace(&*path.to_string_lossy(), "FILE")
        };
        assert_eq!(message(b""), "FILE is not a lockstep checkpoint");
        assert_eq!(message(b"PK\x03\x04 something else entirely"), "FILE is not a lockstep checkpoint");
        let length = good.len();
        assert_eq!(
            message(&good[..length - 1]),
            format!("FILE is truncated: {} of {length} bytes are there", length - 1)
        );
        assert!(message(&good[..13]).starts_with("FILE is truncated: 13 of"));
        assert!(message(&good[..3]).starts_with("FILE is truncated: 3 of"));
        assert_eq!(message(&[&good[..], b"x"].concat()), "FILE is damaged: there are bytes after its end");
        let mut newer = good.clone();
        newer[8] = 9;
        assert_eq!(
            message(&newer),
            "FILE has checkpoint format 9, newer than 4; load it with a newer lockstep"
        );
        let missing = dir.path().join("none.ckpt");
        let text = Checkpoint::load(&missing).unwrap_err().to_string();
        assert_eq!(text, format!("there is no checkpoint {}", missing.display()));
        assert!(Checkpoint::load(dir.path()).unwrap_err().to_string().starts_with("cannot read"));
    }

    #[test]
    fn no_single_flipped_bit_and_no_cut_goes_unnoticed() {
        let (_dir, path, good) = saved();
        let load = |bytes: &[u8]| read(&path, &mut io::Cursor::new(bytes), bytes.len() as u64);
        for position in 0..good.len() {
            let mut bytes = good.clone();
            bytes[position] ^= 1 << (position % 8);
            assert!(load(&bytes).is_err(), "a flipped bit in byte {position}");
            assert!(load(&good[..position]).is_err(), "cut at {position}");
        }
        assert!(load(&good).is_ok());
    }

    /// A file with this body, whose frame and checksum are right.
    fn framed(body: &[u8]) -> Vec<u8> {
        let prefix = [&MAGIC[..], &FORMAT_VERSION.to_le_bytes(), &(body.len() as u64).to_le_bytes()].concat();
        let content = [&prefix[..], body].concat();
        [&content[..], &Sha256::digest(&content)].concat()
    }

    /// Anybody can take a checksum of a file that was made to do harm.
    #[test]
    fn no_number_in_a_file_is_believed() {
        let load = |body: &[u8]| {
            let bytes = framed(body);
            read(Path::new("bad.ckpt"), &mut io::Cursor::new(&bytes), bytes.len() as u64)
                .unwrap_err()
                .to_string()
        };
        let undecodable = "bad.ckpt is damaged: its content cannot be decoded";
        // The length of the configuration's text: 253 stands before a u64.
        for length in [1u64 << 40, u64::MAX, (HEADER_LIMIT + 1) as u64] {
            assert_eq!(load(&[&[253][..], &length.to_le_bytes(), b"env"].concat()), undecodable);
        }
        let with = |change: &dyn Fn(&mut Header)| {
            let Checkpoint { config, env, progress, .. } = sample();
            let mut header = Header { config, env, progress, arrays: Vec::new() };
            change(&mut header);
            encode_header(&(header, None::<BestHeader>, None::<Tally>)).unwrap()
        };
        for shape in [vec![1 << 33, 1 << 33], vec![0, 1 << 63, 4], vec![1 << 40]] {
            let arrays = vec![("w".to_string(), ArrayType::new(DType::F32, shape))];
            assert_eq!(load(&with(&|header| header.arrays = arrays.clone())), undecodable);
        }
        assert_eq!(load(&with(&|header| header.progress.update = u64::MAX)), undecodable);
        assert_eq!(load(&with(&|header| header.progress.seconds = f64::NAN)), undecodable);
    }

    /// What is no checkpoint is not read at all: neither a pipe nor terabytes of zeros.
    #[test]
    #[cfg(unix)]
    fn the_first_bytes_and_the_length_come_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.ckpt");
        let message = || Checkpoint::load(&path).unwrap_err().to_string();
        let file = fs::File::create(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        assert!(message().ends_with("is not a lockstep checkpoint"), "{}", message());
        let (_dir, good, _) = saved();
        fs::copy(&good, &path).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(message().ends_with("there are bytes after its end"), "{}", message());
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(message().ends_with("it is no regular file"), "{}", message());
    }

    /// Written by the versions of the format; they must stay readable. The first knew nothing of best parameters, the
    /// first two had other metrics.
    #[test]
    fn stored_files_of_all_formats_load() {
        for version in 1..=FORMAT_VERSION {
            let name = format!("tests/data/checkpoint_format_{version}.ckpt");
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
            if std::env::var_os("UPDATE_GOLDEN").is_some() && !path.exists() {
                sample().save(&path).unwrap();
            }
            assert_eq!(fs::read(&path).unwrap()[8], version as u8);
            let (loaded, mut expected) = (Checkpoint::load(&path).unwrap(), sample());
            if version < 3 {
                expected.progress.interval = Progress::new(&[]).interval;
            }
            if version < 4 {
                expected.progress.windows = None;
            }
            assert_eq!(
                (loaded.config, loaded.env, loaded.progress),
                (expected.config, expected.env, expected.progress)
            );
            assert_eq!(loaded.best, expected.best.filter(|_| version >= 2));
            let bytes = |state: &NamedArrays| -> Vec<_> {
                state
                    .iter()
                    .map(|(name, array)| (name.clone(), array.array_type(), array.to_bytes().to_vec()))
                    .collect()
            };
            assert_eq!(bytes(&loaded.state), bytes(&expected.state));
        }
    }

    #[test]
    fn a_state_of_another_program_is_described() {
        let mut checkpoint = sample();
        let types: Vec<_> = checkpoint.state.iter().map(|(n, a)| (n.clone(), a.array_type())).collect();
        let mut reversed = types.clone();
        reversed.reverse();
        let path = Path::new("c.ckpt");
        checkpoint.match_state(path, &reversed).unwrap();
        let names: Vec<_> = checkpoint.state.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["count", "empty", "key", "mask", "params.w"]);

        let mut other = types;
        other[0].1 = ArrayType::new(DType::F32, [2, 4]);
        other[1].0 = "masks".into();
        let message = checkpoint.match_state(path, &other).unwrap_err().to_string();
        assert_eq!(
            message,
            "c.ckpt does not fit this program: params.w is f32[2,3], expected f32[2,4]; \
             masks (bool[3]) is missing; mask (bool[3]) is unknown"
        );

        checkpoint.state[0].0 = "two\nlines".into();
        let unknown = differences(&checkpoint.state[..1], &[]);
        let array_type = checkpoint.state[0].1.array_type();
        assert_eq!(unknown, [format!("two\\nlines ({array_type}) is unknown")]);
    }

    #[test]
    fn large_states_are_fast() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large.ckpt");
        let mut checkpoint = sample();
        checkpoint.state.push(("large".into(), HostArray::new(&[16 << 20], vec![1.0f32; 16 << 20])));
        let start = std::time::Instant::now();
        checkpoint.save(&path).unwrap();
        Checkpoint::load(&path).unwrap();
        // 64 MiB take about half a second; an encoding element by element would take many times as long.
        assert!(start.elapsed().as_secs_f64() < 20.0, "{:?}", start.elapsed());
    }
}
