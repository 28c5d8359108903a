//! A bounded rate: so many at once, and so many a second in the long run.

/// Tokens that come back with time.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    size: u64,
    per_second: u64,
    /// In thousandths, so that whole milliseconds fill it evenly.
    filled: u64,
    at_ms: u64,
}

impl Bucket {
    pub(crate) fn new(size: u64, per_second: u64) -> Self {
        Self { size, per_second, filled: size.saturating_mul(1000), at_ms: 0 }
    }

    /// Takes one if there is one.
    pub(crate) fn take(&mut self, now_ms: u64) -> bool {
        let passed = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        let more = passed.saturating_mul(self.per_second);
        self.filled = self.filled.saturating_add(more).min(self.size.saturating_mul(1000));
        match self.filled.checked_sub(1000) {
            Some(rest) => {
                self.filled = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(10, 5);
        assert_eq!((0..100).filter(|_| bucket.take(1000)).count(), 10);
        // Two seconds of five a second, asked every millisecond.
        assert_eq!((1001..=3000).filter(|ms| bucket.take(*ms)).count(), 10);
        // A clock that jumps back gives nothing.
        assert!(!bucket.take(0));
    }
}
