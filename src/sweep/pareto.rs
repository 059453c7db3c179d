//! The Pareto front of trials: those that no cheaper trial beats in score.

/// A score (more is better) and what it cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    pub score: f64,
    pub cost: f64,
}

/// Scores that are as close as this are equal.
const EQUAL: f64 = 1e-6;

/// The places of the front's points, by cost: each scores more than all that cost no more.
pub fn front(points: &[Outcome]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    // Of equal cost the best one first.
    order.sort_by(|&a, &b| {
        points[a].cost.total_cmp(&points[b].cost).then(points[b].score.total_cmp(&points[a].score))
    });
    let mut best = f64::NEG_INFINITY;
    order.retain(|&place| {
        let is_better = points[place].score > best + EQUAL;
        best = best.max(points[place].score);
        is_better
    });
    order
}

/// The front without the costly points at its end that gain little: the last one is dropped while what it adds in score, as a share of the
/// front's range, is less than half of what it adds in cost, and the one before it scores nearly as much (PufferLib's rule).
pub fn pruned(points: &[Outcome], front: &[usize]) -> Vec<usize> {
    let mut kept = front.to_vec();
    let (Some(&first), Some(&last)) = (front.first(), front.last()) else { return kept };
    let (first, last) = (points[first], points[last]);
    let (scores, costs) = (last.score - first.score, last.cost - first.cost);
    while let [.., before, end] = kept[..] {
        let (before, end) = (points[before], points[end]);
        // Scores may be negative, so what is 2 % less is measured on the range, too.
        if kept.len() < 3 || last.score - before.score > 0.02 * last.score.abs().max(scores) {
            break;
        }
        let efficiency = (end.score - before.score) / scores / ((end.cost - before.cost) / costs + 1e-6);
        if efficiency >= 0.5 {
            break;
        }
        kept.pop();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(points: &[(f64, f64)]) -> Vec<Outcome> {
        points.iter().map(|&(score, cost)| Outcome { score, cost }).collect()
    }

    #[test]
    fn the_front_has_what_nothing_cheaper_beats() {
        let points = outcomes(&[(0.5, 2.0), (0.9, 4.0), (0.1, 1.0), (0.4, 3.0), (0.9, 5.0), (0.05, 1.0)]);
        assert_eq!(front(&points), [2, 0, 1]);
        assert!(front(&[]).is_empty());
    }

    #[test]
    fn the_costly_end_of_a_front_is_pruned_as_in_the_specification() {
        let points = outcomes(&[(0.1, 1.0), (0.5, 2.0), (0.6, 3.0), (0.9, 4.0), (0.91, 40.0)]);
        assert_eq!(pruned(&points, &front(&points)), [0, 1, 2, 3]);
        let negative = outcomes(&[(-9.0, 1.0), (-5.0, 2.0), (-1.0, 4.0), (-0.99, 40.0)]);
        assert_eq!(pruned(&negative, &front(&negative)), [0, 1, 2]);
        assert_eq!(pruned(&points, &[0]), [0]);
    }
}
