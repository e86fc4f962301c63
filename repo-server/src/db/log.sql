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
