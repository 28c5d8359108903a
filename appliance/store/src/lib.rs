//! SQLite: revisions of settings, sessions, events, secrets.
