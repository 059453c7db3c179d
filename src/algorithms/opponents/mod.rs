//! Whom an agent meets in a game for two: scripted players, itself, and itself as it was.
//!
//! Opponents are numbered: the scripted players of the environment, then the agent as it is, then the places of frozen agents. Each
//! game has one, drawn when it begins by the odds of the moment. Frozen agents are drawn in proportion to the square of the share of
//! games that they win, so that those are met from whom there is something to learn (prioritized fictitious self-play: Vinyals et
//! al. 2019, "Grandmaster level in StarCraft II using multi-agent reinforcement learning"). What a chunk of training needs of it lies
//! on the device and is part of the state ([`Standing`]); the host keeps every agent that was frozen, and draws which of them are in
//! the places (`places`), so a run that is taken up again meets the same opponents.

mod places;
mod settings;
mod standing;
#[cfg(test)]
mod tests;

pub use places::{Newcomer, check, params_in, put};
pub use settings::{FROZEN, NoShare, POOL, SELF, Settings, Share, StartPolicy};
pub use standing::{Frozen, Left, Results, Standing, weight};

use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};

use crate::array::HostArray;
use crate::envs::vector::View;
use crate::envs::{AnyEnv, EnvSpec, Player};
use crate::lang::{
    Bool, Float, Int, Key, Leaves, Packing, arange, concatenate, constant, float, int, merge_first_axes,
    repeat_tree, select, select_tree, split_first_axis, take_tree, vmap, vmap_last, while_loop,
};

use super::metrics::Recorder;
use super::opening::Opening;
use super::policy::{Actor, Choice};
use super::rollout::{Envs, Totals};
use super::self_play::{self, Faced, NOBODY, Opponent};
use settings::list;

/// What is fixed about the opponents of an agent.
struct Lineup {
    settings: Settings,
    players: Vec<Player>,
    /// How often each opponent is met that is no frozen agent, as long as nothing else counts; they sum up to 1.
    first_odds: Vec<f64>,
    /// Most frozen agents.
    slots: usize,
    packing: Option<Packing>,
    /// How the agent acts, now and as it was.
    actor: Rc<dyn Actor>,
    choice: Choice,
}

/// The opponents of an agent, if its environment is a game for two.
pub struct Opponents(Option<Lineup>);

impl Opponents {
    /// Those that the settings choose, who play as `actor` does where they are the agent, now or as it was.
    ///
    /// # Errors
    /// One line: the game needs an opponent and none is chosen, or the other way round; there is no such player; the game is for more
    /// than two, or can be cut off.
    pub fn new(
        settings: &Settings,
        env: &dyn AnyEnv,
        actor: Rc<dyn Actor>,
        choice: Choice,
    ) -> Result<Opponents> {
        Lineup::new(settings, env, actor, choice).map(Opponents)
    }

    /// Before the first game of an agent with these parameters.
    #[track_caller]
    pub fn begin(&self, agent: &Leaves) -> Option<Standing> {
        self.0.as_ref().map(|lineup| lineup.begin(agent))
    }

    /// Those who play now, as things stand and with these parameters of the agent.
    #[track_caller]
    pub fn playing<'a>(&'a self, standing: &'a Option<Standing>, agent: &Leaves) -> Option<Playing<'a>> {
        let lineup = self.0.as_ref()?;
        let standing = standing.as_ref().expect("a game for two has a standing");
        Some(Playing { lineup, standing, agent: agent.clone(), odds: lineup.odds(standing) })
    }

    /// How games begin, if not with their first states.
    pub fn opening(&self) -> Option<Opening> {
        let Settings { opening_share: share, opening_min: least, opening_max: most, .. } =
            self.0.as_ref()?.settings;
        (share > 0.0).then_some(Opening { share, least, most })
    }

    /// How things stand after steps that came to these totals on each of `num_devices` devices, `timesteps` over all of them, and with
    /// which the agent has these parameters. Where a place changes hands, so do games in `envs`.
    #[track_caller]
    pub fn after(
        &self,
        standing: Option<Standing>,
        totals: &Totals,
        num_devices: usize,
        timesteps: usize,
        agent: &Leaves,
        envs: &mut Envs,
    ) -> Option<Standing> {
        let (lineup, standing) = (self.0.as_ref()?, standing?);
        let (met, seats) = (totals.met.as_ref()?, envs.seats.as_mut()?);
        let (standing, opponent) = lineup.after(standing, met, num_devices, timesteps, agent, seats.opponent);
        seats.opponent = opponent;
        Some(standing)
    }

    /// What has come of the games against each opponent of a pool so far, if there is one; `fetch` gives the values of an array of
    /// the standing.
    ///
    /// # Errors
    /// Whatever `fetch` reports.
    pub fn faced(
        &self,
        standing: &Option<Standing>,
        fetch: &mut dyn FnMut(&Int) -> Result<HostArray>,
    ) -> Result<Option<Vec<Faced>>> {
        let pool = self.0.as_ref().filter(|lineup| lineup.slots > 0);
        let Some((lineup, standing)) = pool.zip(standing.as_ref()) else { return Ok(None) };
        let mut counts = |counts: &Int| Ok::<_, anyhow::Error>(fetch(counts)?.as_slice::<u64>().to_vec());
        let Results { wins, draws, losses } = &standing.results;
        let results = [counts(wins)?, counts(draws)?, counts(losses)?];
        let of = |name, since, slot, i: usize| {
            let [wins, draws, losses] = [0, 1, 2].map(|what: usize| results[what][i]);
            Faced { name, since, slot, wins, draws, losses }
        };
        let mut faced: Vec<Faced> =
            lineup.names().enumerate().map(|(i, name)| of(name, None, None, i)).collect();
        if let Some(Frozen { since, left, .. }) = &standing.frozen {
            let mut value = |value: &Int| Ok::<_, anyhow::Error>(counts(value)?[0]);
            let (wins, draws, losses) = (value(&left.wins)?, value(&left.draws)?, value(&left.losses)?);
            let since_left = Some(value(&left.since)?);
            faced.push(Faced { name: FROZEN, since: since_left, slot: None, wins, draws, losses });
            let places = counts(since)?.into_iter().enumerate();
            let first = lineup.itself() + 1;
            faced.extend(places.map(|(slot, since)| of(FROZEN, Some(since), Some(slot), first + slot)));
        }
        Ok(Some(faced.into_iter().filter(|faced| faced.since != Some(0)).collect()))
    }

    /// After how many steps the agent is frozen each time, if there is a pool.
    pub fn freeze_every(&self) -> Option<u64> {
        let lineup = self.0.as_ref().filter(|lineup| lineup.slots > 0)?;
        Some(lineup.settings.freeze_every as u64)
    }

    /// Records what came of the games of an update.
    pub fn record(&self, m: &mut Recorder, totals: &Totals) {
        if let (Some(lineup), Some(met)) = (&self.0, &totals.met) {
            lineup.record(m, met);
        }
    }
}

impl Lineup {
    /// See [`Opponents::new`].
    fn new(
        settings: &Settings,
        env: &dyn AnyEnv,
        actor: Rc<dyn Actor>,
        choice: Choice,
    ) -> Result<Option<Lineup>> {
        let EnvSpec { name, players: count, .. } = env.spec();
        let players = env.players();
        let names: Vec<&str> = players.iter().map(|player| player.name).collect();
        let known = list(&[&names[..], &[SELF, POOL]].concat());
        if count == 1 {
            ensure!(
                settings.opponent.is_none(),
                "{name} is for one player, and an opponent needs a game for two; leave out --opponent"
            );
            return Ok(None);
        }
        let opponent = settings.opponent.as_deref();
        let opponent = opponent.with_context(|| {
            format!("{name} is a game for {count} players; add --opponent NAME, one of {known}")
        })?;
        self_play::check(env)?;
        let mut first_odds = vec![0.0; players.len() + 1];
        match names.iter().position(|name| *name == opponent) {
            Some(player) => first_odds[player] = 1.0,
            None if opponent == SELF || (opponent == POOL && players.is_empty()) => {
                first_odds[players.len()] = 1.0;
            }
            None if opponent == POOL => {
                let shares = settings.shares(name, &names)?;
                first_odds[..players.len()].copy_from_slice(&shares);
            }
            None => bail!("{name} has no player {opponent}; --opponent may be {known}"),
        }
        let slots = if opponent == POOL { settings.max_frozen_agents } else { 0 };
        let packing = env.spec().packing();
        let settings = settings.clone();
        Ok(Some(Lineup { settings, players, first_odds, slots, packing, actor, choice }))
    }

    /// The number of the agent as it is.
    fn itself(&self) -> usize {
        self.players.len()
    }

    /// How many numbers there are.
    fn count(&self) -> usize {
        self.itself() + 1 + self.slots
    }

    /// The names by number, without those of frozen agents.
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.players.iter().map(|player| player.name).chain([SELF])
    }

    /// How often each opponent is met in games that begin now, f32`[count]`.
    #[track_caller]
    fn odds(&self, standing: &Standing) -> Float {
        let first: Float = constant(self.first_odds.iter().map(|&odds| odds as f32).collect::<Vec<_>>());
        let Some(frozen) = &standing.frozen else { return first };
        let Settings { current_self_fraction, past_self_fraction, start_episode, .. } = self.settings;
        let weights = select(frozen.since.gt(0), standing.results.weights(self.itself() + 1), 0.0);
        let total = weights.sum_all();
        // As long as there is no frozen agent, the agent meets itself.
        let is_any = total.gt(0.0);
        let current = select(is_any, float(current_self_fraction), 1.0);
        let past = select(is_any, float(past_self_fraction), 0.0);
        let itself = arange(first.size()).eq(self.itself());
        let scripted = first * (1.0 - current - past) + select(itself, current, 0.0);
        let begun = standing.episodes.ge(start_episode);
        let past = select(begun, weights * (past / select(is_any, total, 1.0)), 0.0);
        concatenate(0, [select(begun, scripted, first), past])
    }
}

/// Passes in which agents are through with their games if all games are theirs and are spread evenly over them.
const PASSES: usize = 3;

/// [`Opponents`] that play.
pub struct Playing<'a> {
    lineup: &'a Lineup,
    standing: &'a Standing,
    agent: Leaves,
    odds: Float,
}

/// What an actor decides by, of `N` games each.
struct Situation {
    carry: Leaves,
    view: View,
    /// u32`[N, 2]`
    keys: Int,
}
crate::tree!(Situation { carry, view, keys });

impl Opponent for Playing<'_> {
    fn count(&self) -> usize {
        self.lineup.count()
    }

    #[track_caller]
    fn begin(&self, rows: usize) -> Leaves {
        self.lineup.actor.begin(rows)
    }

    #[track_caller]
    fn seat_of_agent(&self, keys: Key) -> Int {
        let words = keys.into_words();
        let games = words.shape()[1];
        match self.lineup.settings.start_policy {
            StartPolicy::Random => self_play::toss(Key::from_words(words)),
            StartPolicy::AgentFirst => Int::full([games], 0),
            StartPolicy::OpponentFirst => Int::full([games], 1),
        }
    }

    #[track_caller]
    fn draw(&self, keys: Key) -> Int {
        let ends = self.odds.cumsum(0);
        let ends = ends / ends.max_all(); // the last one is 1, whatever was rounded
        vmap_last(keys, |key| ends.le(key.uniform([], 0.0..1.0)).as_i32().sum([0]))
    }

    #[track_caller]
    fn choose(&self, number: Int, carry: Leaves, view: &View, starts: Bool, keys: Key) -> (Leaves, Int) {
        let Lineup { actor, first_odds, .. } = self.lineup;
        let rows = number.size();
        let [script, keys] = vmap_last(keys, Key::split);
        let carry = select_tree(starts, actor.begin(rows), carry);
        let action = self.scripted(number, view, script);
        let itself = self.lineup.itself();
        if first_odds[itself] == 0.0 && self.standing.frozen.is_none() {
            return (carry, action);
        }
        let situation = Situation { carry, view: *view, keys: keys.into_words().transpose([1, 0]) };
        let agent = repeat_tree(&self.agent, 1);
        let own = select(number.eq(itself), 0, NOBODY);
        let decided = self.dealt(&agent, 1, own, &situation, (situation.carry.clone(), action));
        match &self.standing.frozen {
            None => decided,
            Some(frozen) => {
                let slot = number - (itself + 1);
                self.dealt(&frozen.params, self.lineup.slots, slot, &situation, decided)
            }
        }
    }
}

impl Playing<'_> {
    /// The actions i32`[N]` of the scripted players, 0 in games against others.
    #[track_caller]
    fn scripted(&self, number: Int, view: &View, keys: Key) -> Int {
        let Lineup { players, first_odds, packing, .. } = self.lineup;
        let obs = view.obs.unpacked(packing.as_ref());
        let keys = Key::from_words(keys.into_words().transpose([1, 0]));
        vmap((number, obs, keys), |(number, obs, key)| {
            let met = players.iter().enumerate().filter(|(i, _)| first_odds[*i] > 0.0);
            met.fold(int(0), |chosen, (i, player)| {
                select(number.eq(i), (player.act)(obs, key.fold_in(i)), chosen)
            })
        })
    }

    /// What the agent with these parameters does in `N` situations.
    #[track_caller]
    fn act(&self, params: &Leaves, situation: &Situation) -> (Leaves, Int) {
        let Lineup { actor, choice, .. } = self.lineup;
        let Situation { carry, view, keys } = situation;
        let keys = Key::from_words(keys.transpose([1, 0]));
        let (carry, decision) = actor.act(params, carry.clone(), view, keys, *choice);
        (carry, decision.action)
    }

    /// `others` with what some agents do in their games. `params` are those of the agents, `[agents, ...]` each; `agent`, i32`[N]`,
    /// says which of them plays in each game, none where it is below 0.
    ///
    /// The games are dealt to the agents, the same number to each, so that all agents together work on a part of the games that is
    /// usually enough. Agents that have more games go on with the rest of them in further passes.
    #[track_caller]
    fn dealt(
        &self,
        params: &Leaves,
        agents: usize,
        agent: Int,
        situation: &Situation,
        others: (Leaves, Int),
    ) -> (Leaves, Int) {
        let games = agent.size();
        let at_once = games.div_ceil(PASSES * agents);
        let own = agent.broadcast(1, agents).eq(arange(agents).broadcast(0, games));
        // The number of a game among those of its agent.
        let rank = select(own, own.as_i32().cumsum(0), 0).sum([1]) - 1;
        let passes = (rank + at_once) / at_once; // of an agent's last game; 0 where no agent plays
        let last = select(agent.ge(0), passes, 0).max_all();
        let all = (int(0), others);
        let (_, decided) = while_loop(
            all,
            |(pass, _)| pass.lt(last),
            |(pass, decided)| {
                let now = agent.ge(0) & (rank / at_once).eq(pass);
                let place = select(now, agent * at_once + rank % at_once, i32::MAX);
                let dealt = Int::full([agents * at_once], 0).at(place).set(arange(games));
                let dealt = split_first_axis(take_tree(situation, dealt), agents);
                let acted = vmap((params.clone(), dealt), |(params, dealt)| self.act(&params, &dealt));
                let acted = merge_first_axes(acted);
                let found = take_tree(&acted, select(now, place, 0));
                (pass + 1, select_tree(now, found, decided))
            },
        );
        decided
    }
}
