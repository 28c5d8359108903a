//! Lines in memory, the oldest dropped.

/// A longer line is cut, in bytes.
pub(crate) const LONGEST: usize = 2048;

/// Lines of text in two halves: the newer one is filled, and when it is full the older one is
/// emptied and takes its turn. So a line costs no allocation and nothing is ever moved.
#[derive(Debug)]
pub(crate) struct Ring {
    half: usize,
    older: String,
    newer: String,
    older_lines: u64,
    newer_lines: u64,
    /// The number of the next line; the first ever has 0.
    next: u64,
}

/// Lines of the log, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// The lines.
    pub lines: Vec<String>,
    /// The number of the line that comes next: ask for those since then.
    pub next: u64,
    /// Lines that were dropped before they were asked for.
    pub missed: u64,
}

impl Ring {
    /// Room for so many bytes of text.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            half: (bytes / 2).max(LONGEST + 1),
            older: String::new(),
            newer: String::new(),
            older_lines: 0,
            newer_lines: 0,
            next: 0,
        }
    }

    pub(crate) fn push(&mut self, line: &str) {
        let line = cut(line, LONGEST);
        if self.newer.len() + line.len() + 1 > self.half {
            std::mem::swap(&mut self.older, &mut self.newer);
            self.older_lines = self.newer_lines;
            self.newer.clear();
            self.newer_lines = 0;
        }
        self.newer.push_str(line);
        self.newer.push('\n');
        self.newer_lines += 1;
        self.next += 1;
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The newest lines, at most so many.
    pub(crate) fn recent(&self, most: usize) -> Lines {
        let newest = self.newer.lines().rev().chain(self.older.lines().rev());
        let mut lines: Vec<String> = newest.take(most).map(str::to_owned).collect();
        lines.reverse();
        Lines { lines, next: self.next, missed: 0 }
    }

    /// The lines since this number, at most so many; what is beyond is left for the next time.
    pub(crate) fn since(&self, number: u64, most: usize) -> Lines {
        let first = self.next - self.older_lines - self.newer_lines;
        let from = number.clamp(first, self.next);
        let skip = usize::try_from(from - first).unwrap_or(usize::MAX);
        let all = self.older.lines().chain(self.newer.lines());
        let lines: Vec<String> = all.skip(skip).take(most).map(str::to_owned).collect();
        let next = from + u64::try_from(lines.len()).unwrap_or(0);
        Lines { lines, next, missed: from.saturating_sub(number) }
    }
}

/// At most so many bytes, never half a letter.
pub(crate) fn cut(line: &str, most: usize) -> &str {
    let mut end = most.min(line.len());
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_stay() {
        let mut ring = Ring::new(16 * 1024);
        for number in 0..10_000 {
            ring.push(&format!("line {number} ............................................"));
        }
        let kept = ring.recent(usize::MAX);
        assert!(ring.older.len() + ring.newer.len() <= 16 * 1024);
        assert!(kept.lines.len() > 100, "at least half is kept: {}", kept.lines.len());
        for (line, number) in kept.lines.iter().rev().zip((0..10_000).rev()) {
            assert!(line.starts_with(&format!("line {number} ")), "{line}");
        }
        let last = ring.recent(2);
        assert_eq!(last.lines.len(), 2);
        assert!(last.lines[1].starts_with("line 9999 "));
        assert_eq!(last.next, 10_000);
        // The buffers never grew beyond what was asked for, doubled at most by the allocator.
        assert!(ring.older.capacity() + ring.newer.capacity() <= 32 * 1024);
    }

    #[test]
    fn a_reader_follows_without_gaps_and_learns_of_them() {
        let mut ring = Ring::new(2 * (LONGEST + 1));
        assert_eq!(ring.since(0, 10), Lines::default());
        ring.push("a");
        ring.push("b");
        let first = ring.since(0, 1);
        assert_eq!((first.lines, first.next), (vec!["a".to_owned()], 1));
        let second = ring.since(1, 10);
        assert_eq!((second.lines, second.next), (vec!["b".to_owned()], 2));
        assert_eq!(ring.since(2, 10).lines, Vec::<String>::new());
        // A number from before a restart.
        assert_eq!(ring.since(77, 10), Lines { next: 2, ..Lines::default() });
        for _ in 0..10_000 {
            ring.push("x");
        }
        let late = ring.since(2, usize::MAX);
        assert_eq!(late.next, 10_002);
        assert_eq!(late.missed + u64::try_from(late.lines.len()).unwrap(), 10_000);
        assert!(late.missed > 0);
    }

    #[test]
    fn long_lines_are_cut_between_letters() {
        let mut ring = Ring::new(1);
        ring.push(&"ü".repeat(LONGEST));
        assert_eq!(ring.recent(1).lines[0].len(), LONGEST);
        assert_eq!(cut("aü", 2), "a");
        assert_eq!(cut("abc", 10), "abc");
    }
}
