//! The JSON-lines protocol of the original game: one command a line in, one reply a line out.
//!
//! Clients written for the original binary (tests, the gym wrapper, the watch script) can talk to this
//! instead. [`serve`] answers every line, whatever is in it, until the input ends; what plays the game
//! behind it is a [`Table`]: the compiled environment or the oracle.

mod reply;
mod set_state;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, Read, Write};

use anyhow::Result;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::layout::{ACTIONS, PROGRAMS, layout};
use super::rules::{Rules, Seeded, action_mask};
use super::{Game, StepResult, view};
use set_state::GivenState;

/// What plays the game behind the protocol. It holds no game itself: the session does.
pub trait Table {
    /// A new random game.
    fn reset(&mut self) -> Result<Game>;
    /// Plays one action (0..28) without resetting a finished game.
    fn step(&mut self, game: &Game, action: i32) -> Result<StepResult>;
    /// Which of the 28 actions are valid.
    fn action_mask(&mut self, game: &Game) -> Result<[bool; ACTIONS]>;
}

/// The oracle at the table, with seeded dice.
pub struct OracleTable {
    pub rules: Rules,
    dice: Seeded,
}

impl OracleTable {
    pub fn new(rules: Rules, seed: u64) -> OracleTable {
        OracleTable { rules, dice: Seeded::new(seed) }
    }
}

impl Table for OracleTable {
    fn reset(&mut self) -> Result<Game> {
        Ok(self.rules.reset(&mut self.dice))
    }

    fn step(&mut self, game: &Game, action: i32) -> Result<StepResult> {
        Ok(self.rules.step(game, action, &mut self.dice))
    }

    fn action_mask(&mut self, game: &Game) -> Result<[bool; ACTIONS]> {
        Ok(action_mask(game))
    }
}

/// The flags that clients give to the original binary.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// Speak the JSON protocol on standard input and output
    #[arg(long)]
    pub headless_cli: bool,
    /// As --headless-cli, and draw the game on standard error
    #[arg(long)]
    pub visual_cli: bool,
    /// Print every command and reply on standard error
    #[arg(long)]
    pub debug: bool,
    /// Accepted for compatibility
    #[arg(long)]
    pub info: bool,
    /// Accepted for compatibility
    #[arg(long)]
    pub debug_scenario: bool,
    /// Let --programs restrict the programs
    #[arg(long)]
    pub dev_mode: bool,
    /// Generated blocks hold only these programs (with --dev-mode): push,siph+,...
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub programs: Vec<String>,
}

impl Flags {
    /// The programs that generated blocks may hold: those named, if development mode is on and at
    /// least one name is known, else all.
    pub fn pool(&self) -> Vec<usize> {
        let named = |program: &usize| self.programs.contains(&layout().programs[*program].raw);
        let chosen: Vec<usize> = (0..PROGRAMS).filter(named).collect();
        if self.dev_mode && !chosen.is_empty() { chosen } else { (0..PROGRAMS).collect() }
    }
}

/// Answers every line of `input` with one line of `output`, until the input ends.
pub fn serve(input: impl BufRead, output: impl Write, table: &mut dyn Table) -> Result<()> {
    serve_with(&Flags::default(), input, output, io::sink(), table)
}

/// As [`serve`], and writes to `log` what the flags ask for: lines and replies, the game as text.
pub fn serve_with(
    flags: &Flags,
    mut input: impl BufRead,
    mut output: impl Write,
    mut log: impl Write,
    table: &mut dyn Table,
) -> Result<()> {
    let mut session = Session::new(table);
    let mut line = Vec::new();
    while read_line(&mut input, &mut line)? {
        let reply = session.reply(&line);
        writeln!(output, "{reply}")?;
        output.flush()?;
        if flags.debug {
            writeln!(log, "< {}\n> {reply}", String::from_utf8_lossy(&line).trim_end())?;
        }
        if let (true, Some(game)) = (flags.visual_cli, session.game()) {
            writeln!(log, "{}\n", view::lines(game).join("\n"))?;
        }
        line.clear();
    }
    Ok(())
}

/// The most bytes of a line; a state has some thousands.
const LINE_LIMIT: u64 = 1 << 20;

/// Reads a line, and says whether there was one. Of a longer one than [`LINE_LIMIT`] the rest is passed over: what is left is
/// no command.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    let read = input.by_ref().take(LINE_LIMIT).read_until(b'\n', line)?;
    if read as u64 == LINE_LIMIT && !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
    }
    Ok(read > 0)
}

/// One client's game.
pub struct Session<'a> {
    table: &'a mut dyn Table,
    game: Option<Game>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Command {
    action: String,
    action_index: Option<i64>,
    state: Option<GivenState>,
}

impl<'a> Session<'a> {
    pub fn new(table: &'a mut dyn Table) -> Session<'a> {
        Session { table, game: None }
    }

    /// The game as it stands, once there is one.
    pub fn game(&self) -> Option<&Game> {
        self.game.as_ref()
    }

    /// The reply to one line, a JSON object without a line break. Whatever goes wrong is in it.
    pub fn reply(&mut self, line: &[u8]) -> String {
        let reply = match serde_json::from_slice::<Command>(line) {
            Ok(command) => self.answer(command),
            Err(_) => Ok(error("Invalid command")),
        };
        reply.unwrap_or_else(|problem| error(&format!("{problem:#}"))).to_string()
    }

    fn answer(&mut self, command: Command) -> Result<Value> {
        Ok(match command.action.as_str() {
            "reset" => {
                let game = self.table.reset()?;
                self.begin(game)
            }
            "step" => match command.action_index {
                None => error("Missing actionIndex"),
                Some(action) => self.step(action)?,
            },
            "getValidActions" => json!({ "validActions": self.valid_actions()? }),
            "getActionSpace" => json!({ "actionSpaceSize": ACTIONS }),
            // The numbers of the original, which describe an older observation.
            "getObservationSpace" => json!({ "gridSize": 6, "playerFeatures": 9, "cellFeatures": 20 }),
            "setState" => match command.state {
                None => error("Missing state data for setState command"),
                Some(state) => match state.into_game() {
                    Ok(game) => self.begin(game),
                    Err(problem) => error(&format!("setState: {problem}")),
                },
            },
            "getInternalState" => reply::internal_state(self.game.as_ref()),
            other => error(&format!("Unknown command: {other}")),
        })
    }

    fn begin(&mut self, game: Game) -> Value {
        let reply = json!({ "observation": reply::observation(&game) });
        self.game = Some(game);
        reply
    }

    fn step(&mut self, action: i64) -> Result<Value> {
        let Some(game) = &mut self.game else {
            return Ok(error("There is no game yet: send reset or setState"));
        };
        if !(0..ACTIONS as i64).contains(&action) {
            return Ok(error(&format!("actionIndex {action} is not 0..27")));
        }
        let mut result = self.table.step(game, action as i32)?;
        // An implementation may know which programs are owned but not in which order they came.
        let age = |program: &usize| game.owned.iter().position(|owned| owned == program);
        result.state.owned.sort_by_key(|program| age(program).unwrap_or(PROGRAMS));
        let reply = reply::step(&result);
        *game = result.state;
        Ok(reply)
    }

    fn valid_actions(&mut self) -> Result<Vec<usize>> {
        let Some(game) = &self.game else {
            return Ok(Vec::new());
        };
        let mask = self.table.action_mask(game)?;
        Ok((0..ACTIONS).filter(|&action| mask[action]).collect())
    }
}

fn error(message: &str) -> Value {
    json!({ "error": message })
}
