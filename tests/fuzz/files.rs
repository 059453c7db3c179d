//! Binary files: checkpoints, parameters, entries of the program cache.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use lockstep::array::{ArrayType, DType, HostArray};
use lockstep::runtime::{CacheOutcome, Client, CompileOptions, DeviceKind, ProgramCache, plugin};
use lockstep::trainer::{Checkpoint, load_params, save_params};
use sha2::{Digest, Sha256};

use super::{Random, check_message, damaged};

/// The bytes of `tests/data/<name>`.
fn data(name: &str) -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

/// Bytes in a file of its own, which goes away.
fn file(bytes: &[u8], name: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

/// A checkpoint of damaged bytes. Mostly the length and the checksum are made right again: who forges one can do that.
pub fn forged_checkpoint(random: &mut Random) -> Vec<u8> {
    const PREFIX: usize = 20;
    let good = data(random.choose(&["checkpoint_format_1.ckpt", "checkpoint_format_2.ckpt"]));
    if random.one_in(4) {
        return damaged(random, &good, false);
    }
    let body = damaged(random, &good[PREFIX..good.len() - 32], false);
    let content = [&good[..PREFIX - 8], &(body.len() as u64).to_le_bytes(), &body[..]].concat();
    [&content[..], &Sha256::digest(&content)].concat()
}

pub fn checkpoint(random: &mut Random) {
    let (_dir, path) = file(&forged_checkpoint(random), "checkpoint_7.ckpt");
    match Checkpoint::load(&path) {
        Err(error) => check_message(&error),
        Ok(mut loaded) => {
            let types = [("params.w".to_string(), ArrayType::new(DType::F32, [2, 3]))];
            let _ = loaded.match_state(&path, &types).map_err(|error| check_message(&error));
            loaded.save(&path).unwrap();
            Checkpoint::load(&path).unwrap();
        }
    }
}

pub fn parameters(random: &mut Random) {
    static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
    let good = GOOD.get_or_init(|| {
        let (_dir, path) = file(b"", "p.safetensors");
        let params: Vec<_> = ["params.actor.weight", "params.critic.bias"]
            .iter()
            .map(|name| (name.to_string(), HostArray::new(&[2, 3], vec![0.5f32; 6])))
            .collect();
        let metadata = [("env", "cartpole"), ("activation", "tanh"), ("hidden_dim", "64")];
        save_params(&path, &params, &metadata.map(|(k, v)| (k.into(), v.into())).into()).unwrap();
        fs::read(&path).unwrap()
    });
    let (_, header) = good.split_at(8);
    let length = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let bytes = match random.below(3) {
        0 => damaged(random, good, false),
        kind => {
            let header_text = damaged(random, &header[..length], true);
            let tensors =
                if kind == 1 { header[length..].to_vec() } else { damaged(random, &header[length..], false) };
            [&(header_text.len() as u64).to_le_bytes()[..], &header_text, &tensors].concat()
        }
    };
    let (_dir, path) = file(&bytes, "p.safetensors");
    if let Err(error) = load_params(&path) {
        check_message(&error);
    }
}

const MODULE: &str = "module @double {\n  func.func public @main(%a: tensor<4xf32>) -> tensor<4xf32> {\n    %b = stablehlo.add %a, %a : \
     tensor<4xf32>\n    return %b : tensor<4xf32>\n  }\n}\n";

/// The program is compiled again, or the entry was as good as new; in both cases it computes what it should.
pub fn cache_entry(random: &mut Random) {
    static GOOD: OnceLock<(tempfile::TempDir, PathBuf, Vec<u8>, Client)> = OnceLock::new();
    let (_, path, good, client) = GOOD.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let plugin = plugin::find(Some(DeviceKind::Cpu), None).unwrap();
        let client = Client::open_with(&plugin, 1, ProgramCache::at(dir.path())).unwrap();
        client.compile(MODULE, &CompileOptions::default()).unwrap();
        let path = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        let good = fs::read(&path).unwrap();
        (dir, path, good, client)
    });
    let bytes = damaged(random, good, false);
    fs::write(path, &bytes).unwrap();
    let program = client.compile(MODULE, &CompileOptions::default()).unwrap();
    assert_eq!(program.cache() == CacheOutcome::Hit, bytes == *good);
    let input = client.to_device(&HostArray::new(&[4], vec![1.5f32; 4]), 0).unwrap();
    let output = program.run(vec![input.into()]).unwrap()[0].to_host().unwrap();
    assert_eq!(output.as_slice::<f32>(), [3.0; 4]);
    // Magic, version and key; the compiler need not give the same bytes again.
    assert_eq!(fs::read(path).unwrap()[..44], good[..44], "the entry is whole again");
}
