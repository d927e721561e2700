//! [`lots`]: work that may be done in any order, the largest first to whoever has least.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// For every cost the shard that bears it; of equal shards the first.
///
/// The largest shard costs at most 4/3 of the least that is possible (Graham 1969).
pub fn lots(costs: &[u64], n_shards: u64) -> Vec<u64> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    order.sort_by_key(|&index| (Reverse(costs[index]), index));
    // Shards that no cost reaches are not kept.
    let n_shards = n_shards.min(costs.len() as u64);
    let mut loads: BinaryHeap<Reverse<(u64, u64)>> =
        (0..n_shards).map(|shard| Reverse((0, shard))).collect();
    let mut of = vec![0; costs.len()];
    for index in order {
        let Reverse((load, shard)) = loads.pop().expect("there is a shard for each cost");
        of[index] = shard;
        loads.push(Reverse((load + costs[index].max(1), shard)));
    }
    of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_goes_to_whoever_has_least() {
        assert_eq!(lots(&[2, 7, 3, 6, 5], 2), [0, 0, 0, 1, 1]);
        assert_eq!(lots(&[2, 7], 1), [0, 0]);
        assert_eq!(lots(&[0, 0, 0], 3), [0, 1, 2]);
        assert_eq!(lots(&[4, 9], u64::MAX), [1, 0]);
        assert!(lots(&[], 3).is_empty());
    }
}
