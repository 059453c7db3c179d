//! A game between a person and an agent: whose turn it is, the moves so far, and how it ended.
//!
//! A move is taken back by playing the game again without it: the same seed and the same moves give the same game.

use std::cmp::Ordering;

use anyhow::Result;

use crate::algorithms::playback::{Moment, Outcome, Playback};
use crate::envs::{Description, Entry};

/// One game after the other.
pub struct Game {
    playback: Playback,
    description: Description,
    agent: String,
    /// The number of the player that the person is.
    person: usize,
    seed: u64,
    /// Counted from 0.
    number: usize,
    moment: Moment,
    /// Who moved, and how.
    moves: Vec<(usize, usize)>,
    /// What the game has paid both players.
    paid: [f64; 2],
    is_over: bool,
}

/// What an action may be worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Thought {
    pub action: usize,
    pub name: String,
    /// With which probability the agent would take it.
    pub probability: f32,
    /// What it expects of it, if it tells.
    pub value: Option<f32>,
}

impl Game {
    /// The first game. The playback's policy has the other seat than the person.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn new(mut playback: Playback, env: &Entry, agent: String, person: usize, seed: u64) -> Result<Game> {
        let moment = playback.begin(seed, 0)?;
        let description = env.description();
        Ok(Game {
            playback,
            description,
            agent,
            person,
            seed,
            number: 0,
            moment,
            moves: Vec::new(),
            paid: [0.0; 2],
            is_over: false,
        })
    }

    pub fn moment(&self) -> &Moment {
        &self.moment
    }

    /// The name of the agent.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    pub fn is_over(&self) -> bool {
        self.is_over
    }

    pub fn is_persons_turn(&self) -> bool {
        !self.is_over && self.moment.to_move == self.person
    }

    /// The name of an action.
    pub fn name(&self, action: usize) -> &str {
        self.description.action(action)
    }

    pub fn num_actions(&self) -> usize {
        self.moment.probs.len()
    }

    pub fn is_valid(&self, action: usize) -> bool {
        action < self.num_actions() && self.moment.mask.as_ref().is_none_or(|mask| mask[action])
    }

    /// The valid actions.
    pub fn choices(&self) -> impl Iterator<Item = usize> {
        (0..self.num_actions()).filter(|&action| self.is_valid(action))
    }

    /// The last move of the agent.
    pub fn agents_last(&self) -> Option<usize> {
        self.moves.iter().rev().find(|(player, _)| *player != self.person).map(|(_, action)| *action)
    }

    /// What the agent thinks of the valid actions.
    pub fn thoughts(&self) -> Vec<Thought> {
        let thought = |action: usize| Thought {
            action,
            name: self.name(action).to_owned(),
            probability: self.moment.probs[action],
            value: self.moment.action_values.as_ref().map(|values| values[action]),
        };
        self.choices().map(thought).collect()
    }

    /// How the game ended, once it has.
    pub fn result(&self) -> Option<String> {
        let [own, other] = [self.paid[self.person], self.paid[1 - self.person]];
        let told = || match own.total_cmp(&other) {
            Ordering::Greater => "you win".to_owned(),
            Ordering::Equal => "a draw".to_owned(),
            Ordering::Less => format!("{} wins", self.agent),
        };
        self.is_over.then(told)
    }

    /// Plays a valid action of whoever is to move.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn play(&mut self, action: usize) -> Result<()> {
        assert!(self.is_valid(action) && !self.is_over, "action {action} cannot be played");
        self.moves.push((self.moment.to_move, action));
        let (Outcome { reward, other_rewards, terminated, truncated, .. }, moment) =
            self.playback.take(action)?;
        self.paid[0] += f64::from(reward);
        self.paid[1] += f64::from(other_rewards[0]);
        self.is_over = terminated || truncated;
        self.moment = moment;
        Ok(())
    }

    /// Plays the agent's action, and gives it.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn answer(&mut self) -> Result<usize> {
        let action = self.moment.action;
        self.play(action)?;
        Ok(action)
    }

    /// Takes the person's last move back, and what followed it. Gives whether there was one.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn undo(&mut self) -> Result<bool> {
        let Some(last) = self.moves.iter().rposition(|(player, _)| *player == self.person) else {
            return Ok(false);
        };
        let kept: Vec<_> = self.moves.drain(..).take(last).collect();
        self.begin(self.number)?;
        for (_, action) in kept {
            self.play(action)?;
        }
        Ok(true)
    }

    /// Begins another game.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn new_game(&mut self) -> Result<()> {
        self.begin(self.number + 1)
    }

    fn begin(&mut self, number: usize) -> Result<()> {
        self.moment = self.playback.begin(self.seed, number)?;
        self.moves.clear();
        (self.number, self.paid, self.is_over) = (number, [0.0; 2], false);
        Ok(())
    }
}
