//! A game between a person and an agent, or of a person alone with an agent that looks on: whose turn it is, the moves so far, and how
//! it ended.
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
    players: usize,
    /// The number of the player that the person is.
    person: usize,
    seed: u64,
    /// Counted from 0.
    number: usize,
    moment: Moment,
    /// Who moved, and how.
    moves: Vec<(usize, usize)>,
    /// What came of the last move.
    outcome: Option<Outcome>,
    /// What the game has paid each player.
    paid: Vec<f64>,
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
    /// The first game. In a game for two the playback's policy has the other seat than the person; alone, the person is player 0.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn new(mut playback: Playback, env: &Entry, agent: String, person: usize, seed: u64) -> Result<Game> {
        let players = env.spec().players;
        if players == 2 {
            playback.take_seat(1 - person);
        }
        let moment = playback.begin(seed, 0)?;
        Ok(Game {
            playback,
            description: env.description(),
            agent,
            players,
            person,
            seed,
            number: 0,
            moment,
            moves: Vec::new(),
            outcome: None,
            paid: vec![0.0; players],
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

    pub fn players(&self) -> usize {
        self.players
    }

    /// The number of the player that the person is.
    pub fn person(&self) -> usize {
        self.person
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The moves so far: who moved, and how.
    pub fn moves(&self) -> &[(usize, usize)] {
        &self.moves
    }

    /// What came of the last move; nothing before the first.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// What the game has paid each player.
    pub fn paid(&self) -> &[f64] {
        &self.paid
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
        let told = || match self.paid[..] {
            [alone] => format!("over after {} steps, return {}", self.moves.len(), alone as f32),
            _ => match self.paid[self.person].total_cmp(&self.paid[1 - self.person]) {
                Ordering::Greater => "you win".to_owned(),
                Ordering::Equal => "a draw".to_owned(),
                Ordering::Less => format!("{} wins", self.agent),
            },
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
        let (outcome, moment) = self.playback.take(action)?;
        let rewards = [outcome.reward].into_iter().chain(outcome.other_rewards.iter().copied());
        self.paid.iter_mut().zip(rewards).for_each(|(paid, reward)| *paid += f64::from(reward));
        self.is_over = outcome.terminated || outcome.truncated;
        (self.moment, self.outcome) = (moment, Some(outcome));
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

    /// Has the person play the other side from the next game on. Alone there is no other side.
    pub fn sit(&mut self, person: usize) {
        if self.players == 2 {
            self.person = person;
            self.playback.take_seat(1 - person);
        }
    }

    /// Begins the first game of another seed.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn begin_seed(&mut self, seed: u64) -> Result<()> {
        self.seed = seed;
        self.begin(0)
    }

    fn begin(&mut self, number: usize) -> Result<()> {
        self.moment = self.playback.begin(self.seed, number)?;
        self.moves.clear();
        self.paid.fill(0.0);
        (self.number, self.outcome, self.is_over) = (number, None, false);
        Ok(())
    }
}
