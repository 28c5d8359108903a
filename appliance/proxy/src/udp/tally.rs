//! What one visitor has asked and been answered, and until when he is remembered.
//!
//! Pure. Datagrams carry nothing that says which answer belongs to which question, so they are
//! counted, as nginx counts them (`proxy_responses`).

/// A visitor who has all his answers is forgotten after so much silence: until then a repeated
/// question goes where the first one went.
pub(super) const LINGER_MS: u64 = 1000;
/// Unanswered datagrams kept to be sent again, and how large they may be together: a resolver asks
/// for A and AAAA at once, and a question is small.
const KEPT: usize = 4;
const KEPT_BYTES: usize = 2048;

/// Who makes room for others first: those at the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Has all his answers.
    Done,
    /// Has asked once, or was never answered; his address may be forged.
    Fresh,
    /// Has gone on after an answer.
    Assured,
}

/// See the file. Times are milliseconds of the process.
#[derive(Debug)]
pub(super) struct Tally {
    /// Datagrams that answer one; None: not known.
    responses: Option<u32>,
    pub(super) questions: u64,
    answers: u64,
    /// Has anything come back since the last question?
    answered: bool,
    assured: bool,
    asked_ms: u64,
    moved_ms: u64,
    kept: Vec<Box<[u8]>>,
    kept_bytes: usize,
    /// Times the kept ones were sent again since the last answer.
    pub(super) again: u32,
}

impl Tally {
    pub(super) const fn new(responses: Option<u32>, now: u64) -> Self {
        Self {
            responses,
            questions: 0,
            answers: 0,
            answered: false,
            assured: false,
            asked_ms: now,
            moved_ms: now,
            kept: Vec::new(),
            kept_bytes: 0,
            again: 0,
        }
    }

    /// The visitor has sent a datagram; `keep`: it may have to be sent again.
    pub(super) fn ask(&mut self, data: &[u8], keep: bool, now: u64) {
        self.assured |= self.answers > 0;
        self.questions += 1;
        self.answered = false;
        (self.asked_ms, self.moved_ms) = (now, now);
        // Where no answer is expected none can be missed.
        if keep && self.responses != Some(0) {
            let room = self.kept.len() < KEPT && self.kept_bytes + data.len() <= KEPT_BYTES;
            if !room {
                self.forget();
            }
            if data.len() <= KEPT_BYTES {
                self.kept_bytes += data.len();
                self.kept.push(data.into());
            }
        }
    }

    /// The server has sent one; returns how long the visitor waited for it, if he did.
    pub(super) fn answer(&mut self, now: u64) -> Option<u64> {
        self.answers += 1;
        let waited = (!self.answered).then(|| now.saturating_sub(self.asked_ms));
        self.answered = true;
        self.moved_ms = now;
        self.again = 0;
        // With an unknown number of answers one is taken for all.
        if self.responses.is_none() || self.is_done() {
            self.forget();
        }
        waited
    }

    fn forget(&mut self) {
        self.kept = Vec::new();
        self.kept_bytes = 0;
    }

    /// Takes what is unanswered, to send it to another server, which then has all its time.
    pub(super) fn take_unanswered(&mut self, now: u64) -> Vec<Box<[u8]>> {
        self.again += 1;
        self.moved_ms = now;
        self.kept.clone()
    }

    /// Is there something that could be sent again?
    pub(super) fn has_unanswered(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Has the visitor all the answers he can expect?
    pub(super) fn is_done(&self) -> bool {
        self.responses.is_some_and(|n| self.answers >= self.questions.saturating_mul(u64::from(n)))
    }

    /// Does the server owe an answer, as far as one can tell?
    pub(super) fn owes(&self) -> bool {
        match self.responses {
            Some(_) => !self.is_done(),
            None => !self.answered,
        }
    }

    /// Was an answer expected for certain, and has not come?
    pub(super) fn is_let_down(&self) -> bool {
        self.responses.is_some() && !self.is_done()
    }

    pub(super) fn rank(&self) -> Rank {
        match (self.is_done(), self.assured) {
            (true, _) => Rank::Done,
            (false, false) => Rank::Fresh,
            (false, true) => Rank::Assured,
        }
    }

    /// When he is forgotten if nothing more comes. `ending`: everything is about to end.
    pub(super) fn deadline(&self, client_ms: u64, server_ms: u64, ending: bool) -> u64 {
        let silence = if self.owes() { server_ms } else { client_ms };
        let short = self.is_done() || (ending && !self.owes());
        let silence = if short { silence.min(LINGER_MS) } else { silence };
        self.moved_ms.saturating_add(silence)
    }

    pub(super) const fn moved_ms(&self) -> u64 {
        self.moved_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_each() {
        let mut t = Tally::new(Some(1), 100);
        t.ask(b"a", true, 100);
        t.ask(b"aaaa", true, 105);
        assert_eq!(
            (t.rank(), t.owes(), t.deadline(50_000, 5000, false)),
            (Rank::Fresh, true, 5105)
        );
        assert_eq!(t.answer(130), Some(25));
        assert_eq!(t.take_unanswered(130).len(), 2, "nobody knows which one was answered");
        assert_eq!(t.answer(140), None);
        assert_eq!((t.rank(), t.owes(), t.has_unanswered()), (Rank::Done, false, false));
        assert_eq!(t.deadline(50_000, 5000, false), 1140);
        // He goes on: the next question is owed its answer.
        t.ask(b"b", true, 900);
        assert_eq!((t.rank(), t.deadline(50_000, 5000, true)), (Rank::Assured, 5900));
        assert!(t.is_let_down());
    }

    #[test]
    fn any_number_of_answers() {
        let mut t = Tally::new(None, 0);
        t.ask(b"a", true, 10);
        assert_eq!((t.deadline(50, 5, false), t.rank()), (15, Rank::Fresh));
        assert_eq!((t.answer(12), t.answer(13)), (Some(2), None));
        assert_eq!((t.deadline(50, 5, false), t.is_done(), t.owes()), (63, false, false));
        assert!(!t.has_unanswered() && !t.is_let_down());
        t.ask(b"b", true, 20);
        assert_eq!((t.rank(), t.deadline(50, 5, false)), (Rank::Assured, 25));
        t.answer(22);
        assert_eq!(t.deadline(50_000, 5, true), 22 + LINGER_MS);
    }

    #[test]
    fn no_answer_at_all() {
        let mut t = Tally::new(Some(0), 0);
        t.ask(b"a line of a log", true, 10);
        assert_eq!((t.rank(), t.has_unanswered(), t.owes()), (Rank::Done, false, false));
        assert_eq!(t.deadline(50_000, 50_000, false), 1010);
    }

    #[test]
    fn what_is_kept_is_little() {
        let mut t = Tally::new(Some(1), 0);
        for _ in 0..1000 {
            t.ask(&[0; 700], true, 1);
            assert!(t.kept_bytes <= KEPT_BYTES && t.kept.len() <= KEPT);
        }
        t.ask(&[0; 5000], true, 1);
        assert!(!t.has_unanswered());
        t.ask(b"x", false, 1);
        assert!(!t.has_unanswered());
    }
}
