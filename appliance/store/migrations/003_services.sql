-- The audit logs: this node's own and copies of the others'.
CREATE TABLE audit (
    id       INTEGER PRIMARY KEY,  -- in the order of arrival here
    node     TEXT    NOT NULL,
    log      TEXT    NOT NULL,
    seq      INTEGER NOT NULL,
    order_ms INTEGER NOT NULL,     -- what a list is ordered by; decides nothing else
    entry    TEXT    NOT NULL,     -- JSON of model::audit::Entry
    UNIQUE (node, log, seq)
) STRICT;
CREATE INDEX audit_order ON audit (order_ms, id);

CREATE TRIGGER audit_is_not_rewritten BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is never rewritten'); END;
-- Of each log the newest entries stay.
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
WHEN OLD.seq > (SELECT max(seq) FROM audit WHERE node = OLD.node AND log = OLD.log) - 5000
BEGIN SELECT RAISE(ABORT, 'the newest entries of the audit log are never removed'); END;

-- Sessions of the admin page, with times by this node's clock, in milliseconds since 1970.
DROP TABLE sessions;
CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    session    TEXT    NOT NULL, -- JSON of model::session::Session
    more       TEXT    NOT NULL,
    since_ms   INTEGER NOT NULL,
    seen_ms    INTEGER NOT NULL,
    proven_ms  INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT;

-- Sessions that were ended, so that a node that was away does not bring them back.
CREATE TABLE ended_sessions (
    number INTEGER PRIMARY KEY, -- in order
    id     TEXT NOT NULL UNIQUE
) STRICT;
