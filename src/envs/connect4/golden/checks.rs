//! What a record says against what was played.

use crate::envs::connect4::referee::{Considered, Outcome, Scored, Seen, Thoughts};
use crate::envs::connect4::{Board, Position};
use crate::envs::golden::Differences;

use super::records::{Distribution, Fold, Kind, Known, Record, Rewards, Solved, Standing};

impl Known for Record {
    fn size(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    fn name(&self) -> String {
        format!("record {}", self.id)
    }

    fn games(&self) -> Vec<([f32; 6], Vec<i32>)> {
        match &self.kind {
            Kind::Session { games, .. } => {
                games.iter().map(|(_, moves)| (self.rewards.0, moves.0.clone())).collect()
            }
            Kind::Illegal { action, .. } => {
                let after = [&self.moves.0[..], &[*action]].concat();
                vec![(self.rewards.0, self.moves.0.clone()), (self.rewards.0, after)]
            }
            _ => vec![(self.rewards.0, self.moves.0.clone())],
        }
    }

    fn differences(&self, board: Board, games: &[Vec<Seen>], thoughts: &Thoughts) -> Vec<String> {
        let mut found = Differences::default();
        let game = &games[0];
        let last = game.last().expect("the empty board is seen");
        match &self.kind {
            Kind::Position(expected) => standing(&mut found, board, expected, game),
            Kind::Heuristic(expected) => chosen(&mut found, board, expected, &thoughts.heuristic),
            Kind::SmartHeuristic(expected) => {
                chosen(&mut found, board, &expected.choice, &thoughts.smart_heuristic);
                let scores = thoughts.threats.map(|scored| self::scores(board, &scored, &last.legal));
                found.compare("score_me", &scores[0], &expected.score_me);
                found.compare("score_opponent", &scores[1], &expected.score_opponent);
            }
            Kind::Fold(expected) => fold(&mut found, expected, game),
            Kind::Shaping { steps } => shaping(&mut found, steps, &self.rewards, game),
            Kind::Session { games: known, total_steps, events } => {
                let first: Vec<bool> = known.iter().map(|(agent_first, _)| *agent_first).collect();
                found.compare("events", self::events(&first, games, *total_steps), events);
            }
            Kind::Illegal { reward, unchanged, invalid_action, obs, .. } => {
                let after = &games[1][games[1].len() - 1];
                found.close("reward", after.rewards[last.to_move], *reward);
                found.close("reward of the other player", after.rewards[1 - last.to_move], 0.0);
                let same =
                    after.position == last.position && after.to_move == last.to_move && !after.terminated;
                found.compare("unchanged", same, *unchanged);
                found.compare("invalid_action", after.illegal, *invalid_action);
                found.compare("obs", planes(&after.obs), obs);
            }
            // The referee plays no game on that is over.
            Kind::Finished { error } => found.compare("error", last.outcome != Outcome::Running, error),
        }
        found.0
    }
}

/// The two planes of an observation as digits.
fn planes(obs: &[f32]) -> [String; 2] {
    let digit = |x: &f32| {
        if *x == 1.0 {
            '1'
        } else if *x == 0.0 {
            '0'
        } else {
            '?'
        }
    };
    let (own, other) = obs.split_at(obs.len() / 2);
    [own, other].map(|plane| plane.iter().map(digit).collect())
}

fn digits(flags: &[bool]) -> String {
    flags.iter().map(|&flag| if flag { '1' } else { '0' }).collect()
}

/// The position as rows from the top.
fn drawn(board: Board, position: &Position) -> String {
    let cell = |place: &u64| match ((position.first >> place) & 1, (position.second >> place) & 1) {
        (0, 0) => '.',
        (1, 0) => 'x',
        (0, 1) => 'o',
        _ => '?',
    };
    let rows: Vec<String> =
        board.places().chunks(board.cols).map(|row| row.iter().map(cell).collect()).collect();
    rows.join("/")
}

/// Row from the top and column of the only stone that `after` has more than `before`.
fn last_stone(board: Board, before: &Position, after: &Position) -> Option<[usize; 2]> {
    let stone = (before.first | before.second) ^ (after.first | after.second);
    let place = board.places().iter().position(|&place| stone == 1 << place)?;
    Some([place / board.cols, place % board.cols])
}

/// +1 for the first player, -1 for the second one.
fn token(player: usize) -> i32 {
    1 - 2 * player as i32
}

fn winner(outcome: Outcome) -> Option<i32> {
    match outcome {
        Outcome::Running => None,
        Outcome::Won(player) => Some(token(player)),
        Outcome::Drawn => Some(0),
    }
}

fn standing(found: &mut Differences, board: Board, expected: &Standing, game: &[Seen]) {
    let seen = &game[game.len() - 1];
    let before = game.len().checked_sub(2).map(|i| &game[i]);
    found.compare("board", drawn(board, &seen.position), &expected.board);
    found.compare("to_move", token(seen.to_move), expected.to_move);
    found.compare("legal", digits(&seen.legal), &expected.legal);
    found.compare("done", before.is_some() && seen.terminated, expected.done);
    found.compare("winner", winner(seen.outcome), expected.winner);
    found.compare("obs", planes(&seen.obs), &expected.obs);
    let last = before.and_then(|before| last_stone(board, &before.position, &seen.position));
    found.compare("last", last, expected.last);
    let reason = match seen.outcome {
        Outcome::Running => None,
        Outcome::Won(_) => Some("win"),
        Outcome::Drawn => Some("draw"),
    };
    found.compare("reason", reason, expected.reason.as_deref());
    match (before, expected.reward) {
        (Some(before), Some(reward)) => found.close("reward", seen.rewards[before.to_move], reward),
        (before, reward) => found.compare("has a last step", before.is_some(), reward.is_some()),
    }
}

fn chosen(found: &mut Differences, board: Board, expected: &Distribution, considered: &Considered) {
    found.compare("rule", considered.rule, expected.rule);
    let columns =
        |cells: u64| (0..board.cols).map(|c| u64::from(cells & board.column(c) != 0)).collect::<Vec<_>>();
    let (first, second) = (columns(considered.cells), columns(considered.instead));
    let (count, again) = (first.iter().sum::<u64>(), second.iter().sum::<u64>());
    // Column 0 leaves its share to the second draw.
    let redrawn = again > 0 && first[0] == 1;
    let share = |c: usize| match redrawn {
        false => (first[c], count),
        true => (u64::from(c > 0) * first[c] * again + second[c], count * again),
    };
    for (c, &num) in expected.num.iter().enumerate() {
        let (own, of) = share(c);
        if own * expected.den != num * of {
            found.0.push(format!("column {c}: expected {num}/{}, got {own}/{of}", expected.den));
        }
    }
    found.compare("columns", first.len(), expected.num.len());
}

/// The score of every column that is not full.
fn scores(board: Board, scored: &Scored, legal: &[bool]) -> Vec<Option<f32>> {
    let score = |c: usize| {
        let class = scored.iter().position(|cells| cells & board.column(c) != 0);
        class.map_or(0.0, |class| [1.1, 0.8, 0.3][class])
    };
    (0..board.cols).map(|c| legal[c].then(|| score(c))).collect()
}

/// A game as one player sees it: its actions with what they lead to before its next turn.
struct Folded {
    /// Numbers of stones before each of its turns, and at the end.
    turns: Vec<usize>,
    rewards: Vec<f32>,
}

impl Folded {
    fn of(agent: usize, game: &[Seen]) -> Folded {
        let stones = game.len() - 1;
        let mut turns: Vec<usize> = (agent..stones).step_by(2).collect();
        // A reply that ends the game decides what the action before it is worth; otherwise it pays the agent nothing.
        let paid = |&turn: &usize| match game.get(turn + 2) {
            Some(reply) if reply.terminated => reply.rewards[agent],
            _ => game[turn + 1].rewards[agent],
        };
        let rewards = turns.iter().map(paid).collect();
        turns.push(stones);
        Folded { turns, rewards }
    }
}

fn fold(found: &mut Differences, expected: &Fold, game: &[Seen]) {
    let agent = usize::from(!expected.agent_first);
    let folded = Folded::of(agent, game);
    let end = &game[game.len() - 1];
    let seen: Vec<[String; 2]> = folded.turns.iter().map(|&turn| planes(&game[turn].obs)).collect();
    found.compare("obs", &seen, &expected.obs);
    found.compare("transitions", folded.rewards.len(), expected.transitions.len());
    for (i, (action, reward, done, legal, next_legal)) in expected.transitions.iter().enumerate() {
        let [now, next] = [0, 1].map(|later| folded.turns.get(i + later).map(|&turn| &game[turn]));
        let (Some(now), Some(next), Some(&paid)) = (now, next, folded.rewards.get(i)) else { break };
        let of = |what: &str| format!("transition {i}, {what}");
        let over = next.outcome != Outcome::Running;
        found.compare(&of("action"), played(now, &game[folded.turns[i] + 1]), Some(*action as usize));
        found.close(&of("reward"), paid, *reward);
        found.compare(&of("done"), u8::from(over), *done);
        found.compare(&of("legal"), digits(&now.legal), legal);
        let after = if over { "0".repeat(next.legal.len()) } else { digits(&next.legal) };
        found.compare(&of("next_legal"), after, next_legal);
    }
    let result = winner(end.outcome).map_or(0, |winner| winner * token(agent));
    found.close("info.reward", folded.rewards.iter().sum(), expected.info.reward);
    found.compare("info.length", game.len() - 1, expected.info.length);
    found.compare("info.agent_token", token(agent), expected.info.agent_token);
    found.compare("info.agent_result", result, expected.info.agent_result);
}

/// The column that was played between two positions.
fn played(before: &Seen, after: &Seen) -> Option<usize> {
    let stones = |seen: &Seen, c: usize| {
        let cols = seen.legal.len();
        seen.obs.iter().skip(c).step_by(cols).filter(|x| **x > 0.0).count()
    };
    (0..before.legal.len()).find(|&c| stones(before, c) != stones(after, c))
}

fn shaping(found: &mut Differences, steps: &[(f32, u8, u8)], rewards: &Rewards, game: &[Seen]) {
    found.compare("steps", game.len() - 1, steps.len());
    let [.., three_in_row, opponent_three_in_row, _] = rewards.0;
    for (i, &(reward, own, other)) in steps.iter().enumerate() {
        let Some(after) = game.get(i + 1) else { break };
        found.close(&format!("step {i}, reward"), after.rewards[game[i].to_move], reward);
        if after.outcome == Outcome::Running {
            let told = f32::from(own) * three_in_row - f32::from(other) * opponent_three_in_row;
            found.close(&format!("step {i}, reward by the flags"), after.rewards[game[i].to_move], told);
        }
    }
}

/// What a trainer does in these games, in its order, until it has `total_steps` of the agent's transitions.
fn events(agent_first: &[bool], games: &[Vec<Seen>], total_steps: usize) -> String {
    let mut events = vec!["b".to_owned()];
    let mut step = 0;
    for (episode, (&first, game)) in agent_first.iter().zip(games).enumerate() {
        if step == total_steps {
            break;
        }
        events.push(format!("p{episode}"));
        let folded = Folded::of(usize::from(!first), game);
        for turn in folded.turns.windows(2) {
            if step == total_steps {
                break;
            }
            step += 1;
            events.extend(["o".into(), "u".into(), format!("s{step}@{episode}")]);
            if game[turn[1]].outcome != Outcome::Running {
                events.extend([format!("e{episode}"), format!("E{episode}")]);
            }
        }
    }
    events.push("x".into());
    events.join(" ")
}

impl Known for Solved {
    fn size(&self) -> (usize, usize) {
        (6, 7)
    }

    fn name(&self) -> String {
        format!("{} {}", self.set, self.id)
    }

    /// The position, and each of its moves.
    fn games(&self) -> Vec<([f32; 6], Vec<i32>)> {
        let scored = self.columns.iter().flatten().enumerate().filter(|(_, score)| score.is_some());
        let after = scored.map(|(c, _)| [&self.moves.0[..], &[c as i32]].concat());
        let games = [self.moves.0.clone()].into_iter().chain(after);
        games.map(|moves| (Rewards::default().0, moves)).collect()
    }

    /// The position is reached and goes on; the columns that have a score can be played; exactly those win at once whose score is
    /// that of a win with the next stone; and a score that is the best one is that of the position.
    fn differences(&self, _: Board, games: &[Vec<Seen>], _: &Thoughts) -> Vec<String> {
        let mut found = Differences::default();
        let last = &games[0][games[0].len() - 1];
        let stones = (last.position.first | last.position.second).count_ones() as usize;
        found.compare("stones", stones, self.moves.0.len());
        found.compare("outcome", last.outcome, Outcome::Running);
        let Some(columns) = &self.columns else { return found.0 };
        let playable: Vec<bool> = columns.iter().map(Option::is_some).collect();
        found.compare("legal", &last.legal, &playable);
        let at_once = 22 - (stones / 2 + 1) as i32;
        let scored = columns.iter().enumerate().filter_map(|(c, score)| Some((c, (*score)?)));
        for ((c, score), game) in scored.zip(&games[1..]) {
            let after = &game[game.len() - 1];
            let wins = matches!(after.outcome, Outcome::Won(_));
            found.compare(&format!("column {c} wins at once"), wins, score == at_once);
            if after.outcome == Outcome::Drawn {
                found.compare(&format!("score of column {c}"), 0, score);
            }
        }
        let best = columns.iter().flatten().max();
        found.compare("score", best, Some(&self.score));
        let columns = columns.iter().enumerate().filter(|(_, score)| score.as_ref() == best);
        let columns: Vec<usize> = columns.map(|(c, _)| c).collect();
        found.compare("best", Some(&columns), self.best.as_ref());
        found.0
    }
}
