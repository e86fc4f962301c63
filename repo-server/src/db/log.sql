-- The transparency log; made where it is missing. A place once given is never given to another entry:
-- the signer may have signed it.
CREATE TABLE IF NOT EXISTS log_entries (
    entry_index INTEGER PRIMARY KEY,
    statement   BLOB NOT NULL UNIQUE       -- SHA-256 of the envelope as stored
) STRICT;

-- Entries whose tiles are not written yet. Afterwards the tiles have them.
CREATE TABLE IF NOT EXISTS log_pending (
    entry_index INTEGER PRIMARY KEY REFERENCES log_entries,
    entry       BLOB NOT NULL
) STRICT;

-- The newest row is what the signer has signed; tiles and the served checkpoint follow it.
CREATE TABLE IF NOT EXISTS log_checkpoints (
    size      INTEGER PRIMARY KEY,
    note      TEXT NOT NULL,
    published INTEGER NOT NULL CHECK (published IN (0, 1))
) STRICT;

CREATE TABLE IF NOT EXISTS log_cursor (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    evidence_id INTEGER NOT NULL           -- evidence up to here was looked at
) STRICT;

-- What the signer said, for the log, about the repository itself: of one move of a channel, or about its keys.
CREATE TABLE IF NOT EXISTS announcements (
    announcement_id INTEGER PRIMARY KEY,
    move_id         INTEGER UNIQUE,        -- of channel_moves
    keys            TEXT,                  -- JSON of the key set
    statement       TEXT UNIQUE,           -- digest of the envelope, in which a move has its number and keys a
                                           -- time; none: it refused to speak of this move
    logged          INTEGER NOT NULL CHECK (logged IN (0, 1)),
    CHECK ((move_id IS NULL) <> (keys IS NULL))
) STRICT;
CREATE INDEX IF NOT EXISTS announcements_to_log ON announcements (announcement_id) WHERE logged = 0;

-- The newest head that a quorum of witnesses has cosigned: proofs lead to it.
CREATE TABLE IF NOT EXISTS log_witnessed (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL,
    note TEXT NOT NULL
) STRICT;

-- Rebuilders that operators let in or turned away, for the signer to speak of in the log.
CREATE TABLE IF NOT EXISTS rebuilder_decisions (
    decision_id   INTEGER PRIMARY KEY,
    name          TEXT NOT NULL,
    request_key   TEXT NOT NULL,
    operator      TEXT NOT NULL,
    statement_key TEXT NOT NULL,
    standing      TEXT NOT NULL CHECK (standing IN ('approved', 'rejected')),
    decided_at    INTEGER NOT NULL,
    actor         TEXT NOT NULL,
    statement     TEXT UNIQUE,             -- digest of the envelope; none: it has not spoken of it
    waits         INTEGER NOT NULL DEFAULT 1 CHECK (waits IN (0, 1)),
    logged        INTEGER NOT NULL DEFAULT 0 CHECK (logged IN (0, 1))
) STRICT;
CREATE INDEX IF NOT EXISTS rebuilder_decisions_to_say ON rebuilder_decisions (decision_id) WHERE waits = 1;
CREATE INDEX IF NOT EXISTS rebuilder_decisions_to_log ON rebuilder_decisions (decision_id) WHERE logged = 0;
-- From before decisions were kept.
INSERT INTO rebuilder_decisions (name, request_key, operator, statement_key, standing, decided_at, actor)
SELECT name, request_key, operator, statement_key, standing, decided_at, 'server' FROM enrolments e
WHERE standing = 'approved' AND NOT EXISTS (
    SELECT 1 FROM rebuilder_decisions d WHERE d.name = e.name AND d.request_key = e.request_key);
-- From when a refusal was final.
UPDATE rebuilder_decisions SET waits = 1, logged = 0 WHERE waits = 0 AND statement IS NULL;
