//! `lockstep match`: players of a game for two against each other, and what their results say of them.

mod rating;

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Value, json};

use crate::algorithms::duel::{Duel, Games, Score};
use crate::algorithms::evaluation::{MAX_EPISODES, MAX_STEPS};
use crate::algorithms::policy::Choice;
use crate::config::UsageError;
use crate::envs::{AnyEnv, Entry};
use crate::output::tell;
use crate::runtime::Client;
use crate::trainer::Stage;

use super::device::Device;
use super::player::{Origin, Place, Player, RANDOM};
use super::table::table;
use super::{App, print, print_line};
use rating::{Rating, ratings, wilson};

/// Who meets whom, and how often.
#[derive(Debug, Args)]
struct Match {
    /// The players: names of scripted ones (`envs NAME` lists them), "random", or whatever has parameters (a run, a checkpoint,
    /// a file)
    #[arg(value_name = "PLAYER", required = true, num_args = 1..)]
    players: Vec<String>,
    /// Let each of several players meet each other one, and rate them
    #[arg(long)]
    round_robin: bool,
    #[command(flatten)]
    place: Place,
    /// Games of each pair; a fair coin decides for each game who begins
    #[arg(long, value_name = "N", default_value_t = 1000)]
    games: usize,
    /// Moves at the beginning of each game that are drawn at random, whoever is to move
    #[arg(long, value_name = "N", default_value_t = 0)]
    random_opening: usize,
    /// Draw actions of what was trained with their probabilities instead of taking the most probable one
    #[arg(long)]
    stochastic: bool,
    /// Steps after which a game is cut off; what it has paid by then decides it
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_steps: usize,
    /// Seed of all random numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    device: Device,
    /// Print one JSON object on stdout, from the side of the first player
    #[arg(long)]
    json: bool,
}

pub fn command() -> Command {
    Match::augment_args(Command::new("match"))
        .mut_arg("env", |arg| arg.help("Game for two [default: the one that the players belong to]"))
        .about("Let players of a game for two play against each other")
        .after_help(
            "Intervals hold the true value with a probability of 95 %. Elo ratings are those under which the results of all pairs are most \
             probable; their mean is 0. The same seed plays the same games.",
        )
}

/// Plays and prints.
///
/// # Errors
/// One line; a [`UsageError`] if the numbers make no sense or the players do not fit together.
pub fn run(app: &App, matches: &ArgMatches) -> Result<()> {
    let plan = Match::from_arg_matches(matches)?;
    plan.check().map_err(|error| UsageError(error.to_string()))?;
    let players = plan.seated(app)?;
    let env = players[0].env;
    let (client, stage) = plan.device.open(&format!("tracing games of {}", env.name))?;
    let started = Instant::now();
    let meetings = plan.play(&client, &*env.build(), &players, &stage)?;
    drop(stage);
    let cut_off: usize = meetings.iter().map(|meeting| meeting.total().cut_off).sum();
    if cut_off > 0 {
        tell(&format!(
            "warning: {cut_off} games were cut off after {} steps; see --max-steps",
            plan.max_steps
        ));
    }
    let table = Table { plan: &plan, players: &players, meetings: &meetings };
    match plan.json {
        true => print_line(table.to_json(started.elapsed().as_secs_f64())),
        false => print(&table.to_text()),
    }
}

/// The games of two players.
struct Meeting {
    /// Their numbers.
    pair: [usize; 2],
    /// From the side of the first one: the games that it began, and those that the other one began.
    scores: [Score; 2],
}

impl Meeting {
    fn total(&self) -> Score {
        self.scores[0] + self.scores[1]
    }
}

impl Match {
    fn check(&self) -> Result<()> {
        let Match { players, round_robin, games, max_steps, random_opening, .. } = self;
        ensure!((1..=MAX_EPISODES).contains(games), "games is {games}; it must be from 1 to {MAX_EPISODES}");
        ensure!(
            (1..=MAX_STEPS).contains(max_steps),
            "max_steps is {max_steps}; it must be from 1 to {MAX_STEPS}"
        );
        ensure!(
            random_opening < max_steps,
            "random_opening is {random_opening}; it must be less than max_steps = {max_steps}"
        );
        let named = players.len();
        ensure!(named > 1, "a match needs two players; add the name of another one");
        ensure!(
            *round_robin || named == 2,
            "a match has two players, not {named}; add --round-robin for more"
        );
        Ok(())
    }

    fn choice(&self) -> Choice {
        if self.stochastic { Choice::Sample } else { Choice::Greedy }
    }

    /// The players, all in one game for two.
    fn seated(&self, app: &App) -> Result<Vec<Player>> {
        // Random play goes with everything, so it says nothing of the environment.
        let named = |name: &String| match name == RANDOM && self.place.env.is_none() {
            true => Ok(None),
            false => Player::named(app, name, &self.place, self.choice()).map(Some),
        };
        let players = self.players.iter().map(named).collect::<Result<Vec<Option<Player>>>>()?;
        let games = app.entries().iter().filter(|entry| entry.spec().players == 2);
        let games = games.map(|entry| entry.name).collect::<Vec<_>>().join(", ");
        // What was trained is for one make of the game; the others play any.
        let trained = |player: &&Player| matches!(player.origin, Origin::Params(_));
        let mut seated = players.iter().flatten();
        let Some(home) = seated.clone().find(trained).or(seated.next()) else {
            bail!(UsageError(format!(
                "random players play everywhere; add --env NAME, a game for two ({games})"
            )))
        };
        let (env, spec) = (home.env, home.env.spec());
        let fits =
            |player: &&Player| player.env.name == env.name && (!trained(player) || player.env.spec() == spec);
        if let Some(other) = players.iter().flatten().find(|player| !fits(player)) {
            let problem = match other.env.name == env.name {
                true => format!("{} and {} play {} of different sizes", home.name(), other.name(), env.name),
                false => format!(
                    "{} plays {} and {} plays {}",
                    home.name(),
                    env.name,
                    other.name(),
                    other.env.name
                ),
            };
            bail!(UsageError(format!("{problem}; a match is played in one environment")));
        }
        let count = env.spec().players;
        if count != 2 {
            let count = if count == 1 { "one player".to_owned() } else { format!("{count} players") };
            bail!(UsageError(format!("{} is for {count}; a match needs a game for two ({games})", env.name)));
        }
        let here =
            |player: Option<Player>| player.map_or_else(|| Player::random(env), |player| player.moved(env));
        Ok(players.into_iter().map(here).collect())
    }

    /// Every player against every later one.
    fn play(
        &self,
        client: &Client,
        env: &dyn AnyEnv,
        players: &[Player],
        stage: &Stage,
    ) -> Result<Vec<Meeting>> {
        let Match { games, random_opening, max_steps, seed, .. } = *self;
        let pairs = (0..players.len()).flat_map(|a| (a + 1..players.len()).map(move |b| [a, b]));
        let meeting = |pair: [usize; 2]| {
            let sides = pair.map(|player| &players[player]);
            self.warn_of_one_game(sides);
            let policies = sides.map(|player| &player.policy);
            let duel = Duel::new(client, env, policies, random_opening, games)?;
            let [a, b] = sides.map(Player::name);
            stage.change(&format!("playing {games} games of {a} against {b}"));
            let scores = duel.play(&Games { games, max_steps, seed }, &mut || true)?;
            Ok(Meeting { pair, scores: scores.expect("nothing stops it") })
        };
        pairs.map(meeting).collect()
    }

    /// Two players without chance play the same game again and again.
    fn warn_of_one_game(&self, sides: [&Player; 2]) {
        let certain = |player: &Player| matches!(player.origin, Origin::Params(_)) && !self.stochastic;
        if self.random_opening == 0 && sides.into_iter().all(certain) {
            let [a, b] = sides.map(Player::name);
            tell(&format!(
                "warning: nothing that {a} and {b} do is left to chance, so their games may all be alike; see \
                 --random-opening and --stochastic"
            ));
        }
    }
}

/// What is printed.
struct Table<'a> {
    plan: &'a Match,
    players: &'a [Player],
    meetings: &'a [Meeting],
}

impl Table<'_> {
    fn env(&self) -> &Entry {
        &self.players[0].env
    }

    /// All games of a player, from its side.
    fn score(&self, player: usize) -> Score {
        let own = self.meetings.iter().filter_map(|meeting| match meeting.pair {
            [first, _] if first == player => Some(meeting.total()),
            [_, second] if second == player => Some(meeting.total().turned()),
            _ => None,
        });
        own.fold(Score::default(), |sum, score| sum + score)
    }

    fn ratings(&self) -> Vec<Rating> {
        let results: Vec<_> =
            self.meetings.iter().map(|meeting| (meeting.pair[0], meeting.pair[1], meeting.total())).collect();
        ratings(self.players.len(), &results)
    }

    fn to_json(&self, seconds: f64) -> Value {
        let Match { seed, random_opening, max_steps, stochastic, .. } = self.plan;
        let mut object = json!({
            "env": self.env().name,
            "players": self.players.iter().map(Player::name).collect::<Vec<_>>(),
            "seed": seed,
            "random_opening": random_opening,
            "max_steps": max_steps,
            "stochastic": stochastic,
        });
        let rest = match self.plan.round_robin {
            false => of_meeting(&self.meetings[0]),
            true => self.of_round_robin(),
        };
        let parts = object.as_object_mut().expect("it is one");
        parts.extend(rest.as_object().cloned().unwrap_or_default());
        parts.insert("seconds".into(), json!(seconds));
        object
    }

    fn of_round_robin(&self) -> Value {
        let name = |player: usize| self.players[player].name();
        let rated = self.ratings().into_iter().enumerate().map(|(player, Rating { elo, margin })| {
            let mut row = of_score(self.score(player));
            row["name"] = json!(name(player));
            row["elo"] = json!(elo);
            row["elo_interval"] = json!([elo - margin, elo + margin]);
            row
        });
        let met = self.meetings.iter().map(|meeting| {
            let mut row = of_meeting(meeting);
            row["players"] = json!(meeting.pair.map(name));
            row
        });
        json!({ "ratings": rated.collect::<Vec<_>>(), "matches": met.collect::<Vec<_>>() })
    }

    fn to_text(&self) -> String {
        let Match { games, seed, random_opening, .. } = self.plan;
        let opening = match random_opening {
            0 => String::new(),
            moves => format!(", each after {moves} random moves"),
        };
        let per_pair = if self.plan.round_robin { " of each pair" } else { "" };
        let head = format!("{}, {games} games{per_pair} from seed {seed}{opening}\n\n", self.env().name);
        head + &if self.plan.round_robin { self.ranking() } else { pair(&self.players[0], &self.meetings[0]) }
    }

    /// The players, the best one first, and below the shares of points in each pair.
    fn ranking(&self) -> String {
        let ratings = self.ratings();
        let mut order: Vec<usize> = (0..self.players.len()).collect();
        order.sort_by(|&a, &b| ratings[b].elo.total_cmp(&ratings[a].elo));
        let row = |&player: &usize| {
            let (score, Rating { elo, margin }) = (self.score(player), ratings[player]);
            let counts =
                [score.games(), score.wins, score.draws, score.losses].map(|count| count.to_string());
            [
                vec![self.players[player].name(), format!("{elo:+.0}"), format!("± {margin:.0}")],
                counts.to_vec(),
            ]
            .concat()
        };
        let head = ["player", ">elo", ">", ">games", ">wins", ">draws", ">losses"];
        let met = |meeting: &Meeting| {
            let [a, b] = meeting.pair.map(|player| self.players[player].name());
            [vec![a, b], rates(meeting.total())].concat()
        };
        let met: Vec<_> = self.meetings.iter().map(met).collect();
        let pairs = table(&["player", "against", ">games", ">wins", ">draws", ">losses"], &met);
        table(&head, &order.iter().map(row).collect::<Vec<_>>()) + "\n" + &pairs
    }
}

/// The games of two players from the side of the first one.
fn pair(player: &Player, meeting: &Meeting) -> String {
    let [began, answered] = meeting.scores;
    let rows = [("all games", meeting.total()), ("it begins", began), ("the other begins", answered)];
    let rows = rows.map(|(what, score)| [vec![what.to_owned()], rates(score)].concat());
    table(&[&player.name(), ">games", ">wins", ">draws", ">losses"], &rows)
}

/// How many games, and the shares of wins, draws and losses with their intervals.
fn rates(score: Score) -> Vec<String> {
    let games = score.games();
    let share = |count: usize| {
        let [low, high] = wilson(count, games).map(|rate| 100.0 * rate);
        let rate = 100.0 * count as f64 / games.max(1) as f64;
        format!("{rate:.1}% ({low:.1} to {high:.1})")
    };
    let shares = [score.wins, score.draws, score.losses].map(share);
    std::iter::once(games.to_string()).chain(shares).collect()
}

fn of_meeting(meeting: &Meeting) -> Value {
    let mut object = of_score(meeting.total());
    object["begun"] = of_score(meeting.scores[0]);
    object["answered"] = of_score(meeting.scores[1]);
    object
}

fn of_score(score: Score) -> Value {
    let games = score.games();
    let mut object = json!({
        "games": games,
        "wins": score.wins,
        "draws": score.draws,
        "losses": score.losses,
        "cut_off": score.cut_off,
    });
    for (name, count) in [("win", score.wins), ("draw", score.draws), ("loss", score.losses)] {
        object[format!("{name}_rate")] = json!(count as f64 / games.max(1) as f64);
        object[format!("{name}_rate_interval")] = json!(wilson(count, games));
    }
    object
}
