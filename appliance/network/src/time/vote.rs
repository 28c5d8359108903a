//! Which of several servers to believe. Pure.

/// Servers that agree differ by no more than this, in milliseconds.
const AGREE: i64 = 500;

/// How far this clock is behind, from how far each server says it is. Most have to agree: of
/// two that differ by more, neither is believed. One alone is.
pub(crate) fn vote(offsets: &[i64]) -> Option<i64> {
    let mut sorted = offsets.to_vec();
    sorted.sort_unstable();
    let near =
        |one: i64| sorted.iter().filter(|o| one.abs_diff(**o) <= AGREE.unsigned_abs()).count();
    // The middle one of those that the most others agree with.
    let most = sorted.iter().map(|o| near(*o)).max()?;
    let camp: Vec<i64> = sorted.iter().copied().filter(|o| near(*o) == most).collect();
    let enough = most * 2 > sorted.len();
    camp.get(camp.len() / 2).copied().filter(|_| enough)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_many_outvote_the_odd_one() {
        assert_eq!(vote(&[]), None);
        assert_eq!(vote(&[7]), Some(7));
        assert_eq!(vote(&[7, 1_000_000]), None);
        assert_eq!(vote(&[10, 1_000_000, 30, 20]), Some(20));
        assert_eq!(vote(&[-5, -9_000_000, 5]), Some(5));
        assert_eq!(vote(&[0, 100, 9000, 9100]), None);
        assert_eq!(vote(&[i64::MIN, i64::MAX, 0]), None);
    }
}
