//! Whether a firmware on trial is kept.

use std::time::Duration;

/// How long a firmware has to show that it works.
pub const DEADLINE: Duration = Duration::from_secs(5 * 60);
/// How long the other nodes are waited for: they may be off, which is no fault of the firmware.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How the board does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The admin page answered a request.
    pub page_answers: bool,
    /// The data partition is in use.
    pub data_mounted: bool,
    /// The settings were read.
    pub settings_loaded: bool,
    /// Names of subsystems that failed.
    pub failed: Vec<String>,
    /// Other nodes are in the settings.
    pub peers_expected: bool,
    /// One of them was heard.
    pub peer_seen: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not known yet; ask again in a second.
    Wait,
    /// It works: keep it.
    Confirm,
    /// It does not: end the trial and start again, into the version before.
    Reboot {
        /// What did not work, for the operator.
        why: String,
    },
}

/// Judges a firmware on trial, so long after the board started.
#[must_use]
pub fn judge(health: &Health, elapsed: Duration) -> Verdict {
    let mut missing = Vec::new();
    for (good, what) in [
        (health.page_answers, "the page does not answer"),
        (health.data_mounted, "the data partition is not in use"),
        (health.settings_loaded, "the settings could not be read"),
    ] {
        if !good {
            missing.push(what.to_owned());
        }
    }
    if !health.failed.is_empty() {
        missing.push(format!("not working: {}", health.failed.join(", ")));
    }
    let company = health.peer_seen || !health.peers_expected || elapsed >= PATIENCE;
    if missing.is_empty() && company {
        Verdict::Confirm
    } else if elapsed < DEADLINE {
        Verdict::Wait
    } else {
        Verdict::Reboot { why: missing.join("; ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Health {
        Health {
            page_answers: true,
            data_mounted: true,
            settings_loaded: true,
            failed: Vec::new(),
            peers_expected: false,
            peer_seen: false,
        }
    }

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn what_works_is_kept_at_once() {
        assert_eq!(judge(&good(), Duration::ZERO), Verdict::Confirm);
        // Slow boards too: late is not wrong.
        assert_eq!(judge(&good(), DEADLINE * 2), Verdict::Confirm);
    }

    #[test]
    fn each_fault_alone_ends_the_trial() {
        let failed = vec!["proxy".to_owned(), "vrrp".to_owned()];
        for (word, health) in [
            ("page", Health { page_answers: false, ..good() }),
            ("data partition", Health { data_mounted: false, ..good() }),
            ("settings", Health { settings_loaded: false, ..good() }),
            ("proxy, vrrp", Health { failed, ..good() }),
        ] {
            assert_eq!(judge(&health, SOON), Verdict::Wait, "{word}");
            assert_eq!(judge(&health, DEADLINE - SOON), Verdict::Wait, "{word}");
            let verdict = judge(&health, DEADLINE);
            assert!(matches!(verdict, Verdict::Reboot { why } if why.contains(word)), "{word}");
        }
    }

    #[test]
    fn company_is_waited_for_and_not_required() {
        let alone = Health { peers_expected: true, ..good() };
        assert_eq!(judge(&alone, SOON), Verdict::Wait);
        assert_eq!(judge(&alone, PATIENCE), Verdict::Confirm);
        assert_eq!(judge(&Health { peer_seen: true, ..alone }, SOON), Verdict::Confirm);
    }
}
