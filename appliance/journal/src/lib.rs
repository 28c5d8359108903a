//! The log: a ring in memory whose last lines outlive a crash.
