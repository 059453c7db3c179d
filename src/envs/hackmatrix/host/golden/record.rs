//! Reading golden records: gzip or plain JSON lines to checked, complete states.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::envs::hackmatrix::host::Game;
use crate::envs::hackmatrix::host::layout::OBS;
use crate::files;

/// What the two bytes at the start of a gzip file are.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A state, an action, and all that may come of it.
#[derive(Clone, Debug)]
pub struct Record {
    pub id: i64,
    pub action: i32,
    /// For people and for filtering: what happens in the record.
    pub tags: Vec<String>,
    pub before: Game,
    /// Which of the 28 actions are valid in `before`.
    pub mask: [bool; 28],
    /// The observation of `before`, f32 `[1545]`.
    pub obs: Vec<f32>,
    /// What the outcomes leave open: `spawn`, `stage`, both or nothing.
    pub random_fields: Vec<String>,
    pub outcomes: Vec<Outcome>,
}

impl Record {
    /// Whether one try is enough: one outcome, and nothing in it left open.
    pub fn is_deterministic(&self) -> bool {
        self.outcomes.len() == 1 && self.random_fields.is_empty()
    }
}

/// One result that the rules allow.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The state after, without what is left open: without the transmissions that `spawn` describes,
    /// with the board and exit of `before` if `stage_generated`, and without the snapshot that
    /// `pushes_snapshot` announces.
    pub after: Game,
    /// The newest entry of the history is a snapshot of the state after.
    pub pushes_snapshot: bool,
    pub rewards: [f32; 15],
    pub done: bool,
    pub invalid_action: bool,
    pub stage_complete: bool,
    pub victory: bool,
    pub stage: i32,
    pub score: i32,
    pub hp: i32,
    /// f32 `[1545]`, zeros where it is left open.
    pub obs: Vec<f32>,
    pub spawn: Option<Spawn>,
    pub stage_generated: bool,
}

/// New transmissions on random cells.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spawn {
    pub count: usize,
    /// `[from_siphon, from_scheduled]` of each new transmission, as 0 or 1.
    pub flags: Vec<[i32; 2]>,
    /// Cell indices outside the player's lines of fire, before the first of these spawns.
    #[serde(default)]
    pub preferred: Vec<usize>,
    /// All cell indices that were free before the first of these spawns.
    #[serde(default)]
    pub empty: Vec<usize>,
}

/// The golden transitions of this project, which are compiled in.
pub fn built_in() -> Result<Vec<Record>> {
    const FILE: &str = "jax_env_spec/hackmatrix/golden.jsonl.gz";
    read(include_bytes!("../../../../../jax_env_spec/hackmatrix/golden.jsonl.gz"), FILE)
}

/// Reads the records of a file, gzipped or not. A malformed line is an error that names file and line.
pub fn read_file(path: &Path) -> Result<Vec<Record>> {
    let bytes = files::read(path, FILE_LIMIT).with_context(|| format!("cannot read {}", path.display()))?;
    read(&bytes, &path.display().to_string())
}

/// Reads records from memory; `name` stands for the file in errors.
pub fn read(bytes: &[u8], name: &str) -> Result<Vec<Record>> {
    let plain: Box<dyn Read + '_> =
        if bytes.starts_with(&GZIP) { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
    let mut plain = BufReader::new(plain.take(TEXT_LIMIT));
    let (mut records, mut line) = (Vec::new(), String::new());
    for number in 1.. {
        let place = || format!("{name}:{number}");
        line.clear();
        let read = (&mut plain).take(LINE_LIMIT).read_line(&mut line);
        let read = read.map_err(|error| anyhow!("{}: cannot read the line: {error}", place()))?;
        ensure!((read as u64) < LINE_LIMIT, "{}: the line has more than {LINE_LIMIT} bytes", place());
        if read == 0 {
            break;
        }
        if !line.trim().is_empty() {
            records.push(parse(line.trim()).map_err(|error| anyhow!("{}: {error}", place()))?);
        }
    }
    ensure!(plain.into_inner().limit() > 0, "{name}: it has more than {TEXT_LIMIT} bytes of text");
    Ok(records)
}

// A small file can unpack to one that fills any memory.
const FILE_LIMIT: u64 = 1 << 28;
const TEXT_LIMIT: u64 = 1 << 31;
const LINE_LIMIT: u64 = 1 << 20;

/// A record as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRecord {
    id: i64,
    action: i32,
    tags: Vec<String>,
    before: Map<String, Value>,
    mask: Vec<i32>,
    obs: Vec<(usize, f64)>,
    random_fields: Vec<String>,
    outcomes: Vec<RawOutcome>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutcome {
    state: Map<String, Value>,
    reward: Vec<f32>,
    done: i32,
    info: RawInfo,
    obs: Vec<(usize, f64)>,
    spawn: Option<Spawn>,
    #[serde(default)]
    stage_generated: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInfo {
    invalid_action: i32,
    stage_complete: i32,
    victory: i32,
    stage: i32,
    score: i32,
    hp: i32,
}

fn parse(line: &str) -> Result<Record> {
    let raw: RawRecord = serde_json::from_str(line).map_err(|error| {
        // The line number that serde_json adds is that of the record, always 1.
        anyhow!("{}", error.to_string().replace(" at line 1 column", " at column"))
    })?;
    ensure!((0..28).contains(&raw.action), "action {} is not 0..27", raw.action);
    ensure!(raw.mask.len() == 28, "mask has {} entries, not 28", raw.mask.len());
    ensure!(!raw.outcomes.is_empty(), "outcomes is empty");
    let before = state(raw.before.clone()).context("before").map_err(one_line)?;
    let mut fields = raw.before;
    fields.insert("history".into(), Value::Array(Vec::new()));
    let outcomes = raw
        .outcomes
        .into_iter()
        .enumerate()
        .map(|(index, raw)| {
            outcome(raw, &fields, &before).context(format!("outcome {index}")).map_err(one_line)
        })
        .collect::<Result<_>>()?;
    Ok(Record {
        id: raw.id,
        action: raw.action,
        tags: raw.tags,
        before,
        mask: std::array::from_fn(|action| raw.mask[action] != 0),
        obs: dense(&raw.obs)?,
        random_fields: raw.random_fields,
        outcomes,
    })
}

fn one_line(error: anyhow::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}

fn state(fields: Map<String, Value>) -> Result<Game> {
    let game: Game = serde_json::from_value(Value::Object(fields))?;
    let programs = game.owned.iter().copied().chain(game.board.block_program.0.iter().map(|&p| p as usize));
    for program in programs {
        ensure!(program < 23, "program {program} is not 0..22");
    }
    Ok(game)
}

/// Completes an outcome, which lists only what changed. `fields` is `before` with an empty history.
fn outcome(raw: RawOutcome, fields: &Map<String, Value>, before: &Game) -> Result<Outcome> {
    let mut changes = raw.state;
    let history = changes.remove("history");
    let unknown = changes.keys().find(|name| !fields.contains_key(*name));
    ensure!(unknown.is_none(), "a state has no field `{}`", unknown.unwrap());
    let mut all = fields.clone();
    all.extend(changes);
    let mut after = state(all)?;
    let pushes_snapshot = match history {
        None => {
            after.history = before.history.clone();
            false
        }
        Some(entries) => {
            let (kept, pushes) = history_entries(&entries)?;
            for index in kept {
                let snapshot = before.history.get(index);
                after.history.push(snapshot.with_context(|| format!("no history entry {index}"))?.clone());
            }
            pushes
        }
    };
    let rewards = raw.reward.try_into();
    Ok(Outcome {
        after,
        pushes_snapshot,
        rewards: rewards.map_err(|r: Vec<f32>| anyhow!("reward has {} components, not 15", r.len()))?,
        done: raw.done != 0,
        invalid_action: raw.info.invalid_action != 0,
        stage_complete: raw.info.stage_complete != 0,
        victory: raw.info.victory != 0,
        stage: raw.info.stage,
        score: raw.info.score,
        hp: raw.info.hp,
        obs: dense(&raw.obs)?,
        spawn: raw.spawn.map(checked_spawn).transpose()?,
        stage_generated: raw.stage_generated != 0,
    })
}

/// Splits a history such as `[1, 2, 3, "now"]` into what stays and whether a snapshot is added.
fn history_entries(entries: &Value) -> Result<(Vec<usize>, bool)> {
    let entries = entries.as_array().context("history is not a list")?;
    let mut kept = Vec::new();
    for (position, entry) in entries.iter().enumerate() {
        match (entry.as_u64(), entry.as_str()) {
            (Some(index), _) => kept.push(index as usize),
            (_, Some("now")) if position + 1 == entries.len() => return Ok((kept, true)),
            _ => bail!("history entry {entry} is neither an index nor a last \"now\""),
        }
    }
    Ok((kept, false))
}

fn checked_spawn(spawn: Spawn) -> Result<Spawn> {
    ensure!(spawn.flags.len() == spawn.count, "spawn has {} flags for {}", spawn.flags.len(), spawn.count);
    Ok(spawn)
}

/// The full observation from its nonzero entries. Values are doubles that round to the exact f32.
fn dense(entries: &[(usize, f64)]) -> Result<Vec<f32>> {
    let mut obs = vec![0.0; OBS];
    for &(index, value) in entries {
        *obs.get_mut(index).with_context(|| format!("obs index {index} is not below {OBS}"))? = value as f32;
    }
    Ok(obs)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/jax_env_spec/hackmatrix/golden.jsonl.gz");

    /// The first record of the golden file, as text.
    fn first_line() -> String {
        let bytes = fs::read(FILE).unwrap();
        BufReader::new(MultiGzDecoder::new(&bytes[..])).lines().next().unwrap().unwrap()
    }

    #[test]
    fn reads_every_record_of_the_file() {
        let records = read_file(Path::new(FILE)).unwrap();
        assert_eq!(records.len(), 3000);
        assert!(records.iter().any(|record| record.outcomes.iter().any(|outcome| outcome.spawn.is_some())));
        assert_eq!(records.iter().filter(|record| record.is_deterministic()).count(), 2234);
        assert_eq!(built_in().unwrap().len(), 3000);
    }

    #[test]
    fn writing_a_state_gives_back_its_json() {
        let raw: RawRecord = serde_json::from_str(&first_line()).unwrap();
        let game = state(raw.before.clone()).unwrap();
        assert_eq!(serde_json::to_value(&game).unwrap(), Value::Object(raw.before));
    }

    #[test]
    fn malformed_lines_are_one_line_errors_that_name_the_place() {
        let good = first_line();
        let cases = [
            ("{\"id\": 1", "f:2: EOF while parsing an object at column 8"),
            (&good.replace("\"hp\":1,\"credits\":7", "\"credits\":7"), "f:2: before: missing field `hp`"),
            (&good.replace("\"action\":16", "\"action\":28"), "f:2: action 28 is not 0..27"),
            (&good.replace("[0,5,5,4,1,0]", "[7,5,5,4,1,0]"), "an enemy type must be 0..3, not 7"),
            (&good.replace("[0,5,5,4,1,0]", "[0,5,6,4,1,0]"), "(5, 6) is outside the 6x6 board"),
            (&good.replace("{\"credits\":2,", "{\"gold\":2,"), "f:2: outcome 0: a state has no field `gold`"),
            (&good.replace("[[1,0.8]", "[[1545,0.8]"), "obs index 1545 is not below 1545"),
        ];
        for (bad, expected) in cases {
            assert_ne!(bad, good, "the case {expected:?} no longer changes the line");
            let message = format!("{:#}", read(format!("{good}\n{bad}\n").as_bytes(), "f").unwrap_err());
            assert!(message.contains(expected), "{message:?} does not say {expected:?}");
            assert!(!message.contains('\n') && message.starts_with("f:2: "), "{message:?}");
        }
    }
}
