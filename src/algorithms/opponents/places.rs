//! The places of frozen agents in the state of a learner, as the host sees them: it may put any agent of earlier into one.

use std::iter::zip;

use anyhow::{Context, Result, ensure};

use crate::algorithms::NamedArrays;
use crate::array::{ArrayType, HostArray};

/// How the names of arrays begin, in the state and in files of parameters.
const PARAMS: &str = "standing.frozen.params.";
const IN_FILES: &str = "params.";

/// The parameters of the frozen agent in a place, as files have them.
pub fn params_in(state: &[(String, HostArray)], place: usize) -> NamedArrays {
    let own = |(name, all): &(String, HostArray)| {
        let rest = name.strip_prefix(PARAMS)?;
        let array_type = ArrayType::new(all.dtype(), &all.shape()[1..]);
        let bytes = all.slice(0, place..place + 1).to_bytes().into_owned();
        Some((format!("{IN_FILES}{rest}"), HostArray::from_bytes(&array_type, &bytes)?))
    };
    state.iter().filter_map(own).collect()
}

/// An agent that takes a place.
pub struct Newcomer<'a> {
    pub params: &'a [(String, HostArray)],
    /// After how many steps it was frozen.
    pub since: u64,
    /// Wins, draws and losses of the agent that is trained against it.
    pub results: [u64; 3],
}

/// Puts an agent into a place. Games against the one before it are games against the agent itself from then on.
///
/// # Errors
/// One line: the parameters are those of another network.
pub fn put(state: &mut [(String, HostArray)], place: usize, newcomer: &Newcomer) -> Result<()> {
    check(state, newcomer.params)?;
    for (name, all) in state.iter_mut() {
        if let Some(rest) = name.strip_prefix(PARAMS) {
            let own = |(known, _): &&(String, HostArray)| known.strip_prefix(IN_FILES) == Some(rest);
            let (_, params) = newcomer.params.iter().find(own).expect("they were compared");
            let (mut bytes, own) = (all.to_bytes().into_owned(), params.to_bytes());
            bytes[place * own.len()..(place + 1) * own.len()].copy_from_slice(&own);
            *all = HostArray::from_bytes(&all.array_type(), &bytes).context("a place has the size")?;
        }
    }
    let episodes = array(state, "standing.episodes")?.as_slice::<u64>()[0];
    // The host has taken note of the one that left last.
    array(state, "standing.frozen.left.since")?.as_slice_mut::<u64>()[0] = 0;
    array(state, "standing.frozen.since")?.as_slice_mut::<u64>()[place] = newcomer.since;
    let last_met = array(state, "standing.frozen.last_met")?.as_slice_mut::<u64>();
    last_met[place] = episodes;
    let places = last_met.len();
    let mut number = 0;
    for (name, count) in zip(["wins", "draws", "losses"], newcomer.results) {
        let counts = array(state, &format!("standing.results.{name}"))?.as_slice_mut::<u64>();
        number = counts.len() - places + place;
        counts[number] = count;
    }
    let itself = (number - place - 1) as i32;
    for met in array(state, "envs.seats.opponent")?.as_slice_mut::<i32>() {
        if *met == number as i32 {
            *met = itself;
        }
    }
    Ok(())
}

/// Checks that parameters are those of a frozen agent of this learner.
///
/// # Errors
/// One line that names an array.
pub fn check(state: &[(String, HostArray)], params: &[(String, HostArray)]) -> Result<()> {
    let own = params_in(state, 0);
    for (name, expected) in &own {
        let found = params.iter().find(|(known, _)| known == name);
        let (_, found) = found.with_context(|| format!("there is no {name}"))?;
        let [found, expected] = [found, expected].map(HostArray::array_type);
        ensure!(found == expected, "{name} is {found}, not {expected}");
    }
    Ok(())
}

fn array<'a>(state: &'a mut [(String, HostArray)], name: &str) -> Result<&'a mut HostArray> {
    let found = state.iter_mut().find(|(known, _)| known == name);
    found.map(|(_, array)| array).with_context(|| format!("the learner has no {name}"))
}
