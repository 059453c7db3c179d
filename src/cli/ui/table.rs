//! A game at its table: what may be done there, and what there is to see of it as JSON.

use anyhow::Result;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::answer::Failure;
use crate::cli::play::game::Game;
use crate::envs::Entry;
use crate::envs::painter::Painter;
use crate::envs::telemetry::Shown;
use crate::trainer::replay::{Drawing, Teller, finite, observation};

/// Moves of a game: taking one back plays the others again.
const MOST_MOVES: usize = 20_000;

/// A game that a person plays, or has the agent play.
pub struct Table {
    game: Game,
    env: Entry,
    painter: Box<dyn Painter>,
    teller: Teller,
    /// What the last request did.
    happened: Vec<Move>,
}

/// A move that was made.
struct Move {
    player: usize,
    action: usize,
    /// What it paid each player.
    rewards: Vec<f64>,
    shown: Shown,
}

impl Table {
    pub fn new(game: Game, env: Entry) -> Table {
        Table { game, env, painter: env.painter(), teller: Teller::new(env), happened: Vec::new() }
    }

    /// What stays the same from game to game: environment, agent, and names of the actions.
    pub fn about(&self) -> Value {
        let description = self.env.description();
        let action = |action: usize| {
            let does = description.actions.get(action).map(|action| action.does.as_str());
            json!({
                "name": description.action(action),
                "does": does.unwrap_or_default(),
                "direction": self.painter.direction(action),
            })
        };
        json!({
            "env": self.env.name,
            "agent": self.game.agent(),
            "players": self.game.players(),
            "actions": (0..self.game.num_actions()).map(action).collect::<Vec<_>>(),
            "pace": self.painter.pace(),
        })
    }

    /// All that there is to see now, with what the last request did.
    pub fn position(&self) -> Value {
        let (game, moment) = (&self.game, self.game.moment());
        let finite_all = |values: &[f32]| values.iter().map(|&x| finite(x)).collect::<Vec<_>>();
        json!({
            "drawing": Drawing::of(&*self.painter, &moment.frame()),
            "legal": (0..game.num_actions()).map(|action| game.is_valid(action)).collect::<Vec<_>>(),
            "to_move": moment.to_move,
            "person": game.person(),
            "yours": game.is_persons_turn(),
            "over": game.is_over(),
            "result": game.result(),
            "steps": game.moves().len(),
            "paid": game.paid(),
            "seed": game.seed(),
            "happened": self.happened.iter().map(|made| self.told(made)).collect::<Vec<_>>(),
            "thinks": {
                "action": moment.action,
                "value": moment.value.map(finite),
                "probabilities": finite_all(&moment.probs),
                "values": moment.action_values.as_deref().map(finite_all),
            },
        })
    }

    fn told(&self, made: &Move) -> Value {
        json!({
            "player": made.player,
            "action": made.action,
            "name": self.game.name(made.action),
            "rewards": made.rewards,
            "events": made.shown.events,
        })
    }

    /// What a step of a program is answered with: what is seen, and what came of the step if there was one.
    pub fn stepped(&self) -> Value {
        let outcome = self.game.outcome();
        json!({
            "obs": observation(&self.game.moment().obs),
            "reward": outcome.map_or(0.0, |outcome| finite(outcome.reward)),
            "terminated": outcome.is_some_and(|outcome| outcome.terminated),
            "truncated": outcome.is_some_and(|outcome| outcome.truncated),
            "info": self.happened.last().map(|made| made.shown.info.clone()).unwrap_or_default(),
            "steps": self.game.moves().len(),
            "seed": self.game.seed(),
        })
    }

    /// Plays the person's action, or the agent's for the person, and then those of the agent until it is the person's turn.
    ///
    /// # Errors
    /// The game is over, or the action is not possible.
    pub fn play(&mut self, action: Option<usize>) -> Result<(), Failure> {
        let conflict = |why: &str| Err(Failure::new(StatusCode::CONFLICT, why));
        if self.game.is_over() {
            return conflict("the game is over; begin a new one or take a move back");
        }
        if self.game.moves().len() >= MOST_MOVES {
            return conflict("the game has too many moves; begin a new one");
        }
        let action = action.unwrap_or(self.game.moment().action);
        if !self.game.is_valid(action) {
            return Err(Failure::wrong(self.impossible(action)));
        }
        self.happened.clear();
        let done = self.make(action).and_then(|()| self.answer_on());
        done.map_err(|error| Failure::damaged(&error))
    }

    fn impossible(&self, action: usize) -> String {
        let count = self.game.num_actions();
        match action < count {
            true => format!("{} (action {action}) is not possible now", self.game.name(action)),
            false => format!("there is no action {action}; there are 0 to {}", count - 1),
        }
    }

    /// Makes the moves of the agent until it is the person's turn.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn answer(&mut self) -> Result<()> {
        self.happened.clear();
        self.answer_on()
    }

    fn answer_on(&mut self) -> Result<()> {
        while !self.game.is_over() && !self.game.is_persons_turn() {
            self.make(self.game.moment().action)?;
        }
        Ok(())
    }

    /// Makes a valid move of whoever is to move.
    fn make(&mut self, action: usize) -> Result<()> {
        let player = self.game.moment().to_move;
        let before = self.game.outcome().map(|outcome| self.teller.metrics(outcome));
        self.game.play(action)?;
        let outcome = self.game.outcome().expect("a move was made");
        let metrics = self.teller.metrics(outcome);
        let shown =
            self.teller.tell(action, outcome, self.game.moment().frame(), &metrics, before.as_deref());
        let rewards = [outcome.reward].into_iter().chain(outcome.other_rewards.iter().copied());
        self.happened.push(Move { player, action, rewards: rewards.map(finite).collect(), shown });
        Ok(())
    }

    /// Takes the person's last move back, and what followed it.
    ///
    /// # Errors
    /// There is none.
    pub fn undo(&mut self) -> Result<(), Failure> {
        self.happened.clear();
        match self.game.undo().map_err(|error| Failure::damaged(&error))? {
            true => Ok(()),
            false => Err(Failure::new(StatusCode::CONFLICT, "there is no move of yours to take back")),
        }
    }

    /// Begins another game, with the person as that player if one is named.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn new_game(&mut self, person: Option<usize>) -> Result<()> {
        if let Some(person) = person {
            self.game.sit(person);
        }
        self.game.new_game()?;
        self.answer()
    }

    /// Begins the first game of a seed.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn begin(&mut self, seed: u64) -> Result<()> {
        self.game.begin_seed(seed)?;
        self.answer()
    }
}
