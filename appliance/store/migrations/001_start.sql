-- Every revision of the settings, for ever.
CREATE TABLE revisions (
    revision INTEGER PRIMARY KEY,
    at_ms    INTEGER NOT NULL, -- this node's clock, which may have been wrong
    author   TEXT    NOT NULL, -- JSON of control::Author
    sentence TEXT    NOT NULL,
    document TEXT    NOT NULL  -- JSON of model::Settings, secrets included
) STRICT;

-- Going back is a new revision; nothing is ever rewritten.
CREATE TRIGGER revisions_are_not_rewritten BEFORE UPDATE ON revisions
BEGIN SELECT RAISE(ABORT, 'revisions are never rewritten'); END;
CREATE TRIGGER revisions_are_not_removed BEFORE DELETE ON revisions
BEGIN SELECT RAISE(ABORT, 'revisions are never removed'); END;

-- Sessions of the admin page.
CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    record     BLOB    NOT NULL,
    expires_at INTEGER NOT NULL -- seconds since 1970
) STRICT;

-- What belongs to this board alone: its identity, the hash of the admin password.
CREATE TABLE local (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
