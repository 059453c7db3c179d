//! What results of games say of the players: intervals of rates, and Elo ratings.

use crate::algorithms::duel::Score;

/// Standard deviations on both sides of a mean that hold 95 % of a normal distribution.
const Z: f64 = 1.959_964;

/// The 95 % confidence interval of a rate of which `count` of `games` were seen (Wilson 1927).
pub fn wilson(count: usize, games: usize) -> [f64; 2] {
    if games == 0 {
        return [0.0, 1.0];
    }
    let n = games as f64;
    let lower = |count: usize| {
        let p = count as f64 / n;
        let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        ((p + Z * Z / (2.0 * n) - half) / (1.0 + Z * Z / n)).max(0.0)
    };
    [lower(count), 1.0 - lower(games - count)]
}

/// An Elo rating, the mean of all players being 0, and half of its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rating {
    pub elo: f64,
    pub margin: f64,
}

/// The most probable ratings (Bradley and Terry 1952) of `players` of whom each has met each: `results` holds who met whom, and the
/// score from the side of the first. A draw is half a win. One more drawn game of each pair keeps the rating of a player finite
/// that has won all its games.
pub fn ratings(players: usize, results: &[(usize, usize, Score)]) -> Vec<Rating> {
    let mut points = vec![0.0; players];
    let mut games = vec![vec![0.0; players]; players];
    for &(a, b, score) in results {
        let total = score.games() as f64 + 1.0;
        let won = score.wins as f64 + (score.draws as f64 + 1.0) / 2.0;
        games[a][b] += total;
        games[b][a] += total;
        points[a] += won;
        points[b] += total - won;
    }
    let strengths = strengths(&points, &games);
    let variances = variances(&strengths, &games);
    let unit = 400.0 / std::f64::consts::LN_10;
    let rating =
        |(log, variance): (&f64, f64)| Rating { elo: unit * log, margin: Z * unit * variance.sqrt() };
    strengths.iter().zip(variances).map(rating).collect()
}

/// The natural logarithms of the strengths, of mean 0, by which the points are as expected (Hunter 2004).
fn strengths(points: &[f64], games: &[Vec<f64>]) -> Vec<f64> {
    let mut strengths = vec![1.0f64; points.len()];
    for _ in 0..10_000 {
        let before = strengths.clone();
        for (i, row) in games.iter().enumerate() {
            let expected: f64 = row.iter().zip(&strengths).map(|(n, other)| n / (strengths[i] + other)).sum();
            strengths[i] = points[i] / expected;
        }
        let mean = strengths.iter().map(|s| s.ln()).sum::<f64>() / points.len() as f64;
        strengths.iter_mut().for_each(|s| *s /= mean.exp());
        if strengths.iter().zip(&before).all(|(new, old)| (new / old - 1.0).abs() < 1e-12) {
            break;
        }
    }
    strengths.into_iter().map(f64::ln).collect()
}

/// The variances of the strengths: the diagonal of the pseudo-inverse of Fisher's information, whose rows sum to 0.
fn variances(strengths: &[f64], games: &[Vec<f64>]) -> Vec<f64> {
    let players = strengths.len();
    let mean = 1.0 / players as f64;
    let mut information = vec![vec![mean; players]; players];
    for i in 0..players {
        for j in 0..players {
            let p = 1.0 / (1.0 + (strengths[j] - strengths[i]).exp());
            let weight = games[i][j] * p * (1.0 - p);
            information[i][i] += weight;
            information[i][j] -= weight;
        }
    }
    inverse(information).iter().enumerate().map(|(i, row)| row[i] - mean).collect()
}

/// The inverse of a positive definite matrix, by Gauss and Jordan.
fn inverse(mut matrix: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let size = matrix.len();
    for (i, row) in matrix.iter_mut().enumerate() {
        row.extend((0..size).map(|j| f64::from(u8::from(i == j))));
    }
    for pivot in 0..size {
        let scale = matrix[pivot][pivot];
        matrix[pivot].iter_mut().for_each(|x| *x /= scale);
        let own = matrix[pivot].clone();
        for row in matrix.iter_mut().enumerate().filter(|(i, _)| *i != pivot).map(|(_, row)| row) {
            let factor = row[pivot];
            row.iter_mut().zip(&own).for_each(|(x, own)| *x -= factor * own);
        }
    }
    matrix.into_iter().map(|row| row[size..].to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(wins: usize, draws: usize, losses: usize) -> Score {
        Score { wins, draws, losses, cut_off: 0 }
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-3, "{found} is not {expected}");
    }

    #[test]
    fn intervals_of_rates_stay_between_0_and_1() {
        let [low, high] = wilson(8, 10);
        close(low, 0.4902);
        close(high, 0.9433);
        let [low, high] = wilson(0, 10);
        assert_eq!(low, 0.0);
        close(high, 0.2775);
        assert_eq!(wilson(10, 10)[1], 1.0);
        assert_eq!(wilson(0, 0), [0.0, 1.0]);
    }

    /// Of two players the difference is known in closed form, and so is its variance.
    #[test]
    fn two_players_are_rated_by_their_share() {
        let [a, b] = ratings(2, &[(0, 1, score(280, 39, 80))])[..] else { panic!("two players") };
        let p: f64 = 300.0 / 400.0;
        let unit = 400.0 / std::f64::consts::LN_10;
        close(a.elo - b.elo, unit * (p / (1.0 - p)).ln());
        close(a.elo + b.elo, 0.0);
        close(a.margin, Z * unit * (1.0 / (400.0 * p * (1.0 - p))).sqrt() / 2.0);
        close(a.margin, b.margin);
    }

    #[test]
    fn results_that_fit_give_the_ratings_they_were_made_from() {
        let logs = [1.0f64, 0.2, -1.2];
        let pairs = [(0, 1), (0, 2), (1, 2)].map(|(a, b): (usize, usize)| {
            let p = 1.0 / (1.0 + (logs[b] - logs[a]).exp());
            (a, b, score((p * 1e8) as usize, 0, ((1.0 - p) * 1e8) as usize))
        });
        for (rating, log) in ratings(3, &pairs).iter().zip(logs) {
            close(rating.elo, 400.0 / std::f64::consts::LN_10 * log);
        }
    }

    #[test]
    fn who_has_won_everything_has_a_finite_rating() {
        let found =
            ratings(3, &[(0, 1, score(50, 0, 0)), (0, 2, score(50, 0, 0)), (1, 2, score(20, 10, 20))]);
        assert!(found.iter().all(|rating| rating.elo.is_finite() && rating.margin > 0.0), "{found:?}");
        assert!(found[0].elo > found[1].elo + 400.0 && (found[1].elo - found[2].elo).abs() < 1e-6);
    }
}
