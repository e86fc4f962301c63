-- Registered mirrors and what was seen of them; made where it is missing.
CREATE TABLE IF NOT EXISTS mirrors (
    name             TEXT PRIMARY KEY,
    registration     TEXT NOT NULL,        -- JSON
    standing         TEXT NOT NULL CHECK (standing IN ('pending', 'approved', 'rejected')),
    registered_at    INTEGER NOT NULL,
    rejected_because TEXT CHECK ((standing = 'rejected') = (rejected_because IS NOT NULL)),
    health           TEXT NOT NULL DEFAULT 'new' CHECK (health IN ('new', 'listed', 'dropped')),
    health_since     INTEGER,
    bad_in_row       INTEGER NOT NULL DEFAULT 0,
    good_in_row      INTEGER NOT NULL DEFAULT 0,
    distrusted       INTEGER NOT NULL DEFAULT 0 CHECK (distrusted IN (0, 1)),
    next_probe_at    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- What the signer said last about where each channel points.
CREATE TABLE IF NOT EXISTS channel_freshness (
    channel    TEXT PRIMARY KEY,
    release_id INTEGER NOT NULL,
    envelope   TEXT NOT NULL,              -- JSON
    issued     INTEGER NOT NULL,
    expires    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What each mirror was seen to have, repository by repository.
CREATE TABLE IF NOT EXISTS mirror_places (
    mirror     TEXT NOT NULL REFERENCES mirrors ON DELETE CASCADE,
    channel    TEXT NOT NULL,
    repo       TEXT NOT NULL,
    arch       TEXT NOT NULL,
    release_id INTEGER,                    -- NULL: its repomd.xml is of no release
    whole      TEXT,                       -- repomd.xml whose metadata files were compared
    checked_at INTEGER NOT NULL,
    trouble    TEXT,                       -- JSON
    PRIMARY KEY (mirror, channel, repo, arch)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS mirror_probes (
    probe_id        INTEGER PRIMARY KEY,
    mirror          TEXT NOT NULL REFERENCES mirrors ON DELETE CASCADE,
    at              INTEGER NOT NULL,
    trouble         TEXT,                  -- JSON
    releases_behind INTEGER NOT NULL,
    latency_millis  INTEGER,
    bytes_per_sec   INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS mirror_probes_by_mirror ON mirror_probes (mirror, probe_id);
CREATE INDEX IF NOT EXISTS mirror_probes_by_age ON mirror_probes (at);

-- When a mirror was first seen to have a release of a channel in all that it has of it.
CREATE TABLE IF NOT EXISTS mirror_arrivals (
    mirror     TEXT NOT NULL REFERENCES mirrors ON DELETE CASCADE,
    channel    TEXT NOT NULL,
    release_id INTEGER NOT NULL,
    moved_at   INTEGER NOT NULL,           -- when the channel moved to it
    seen_at    INTEGER NOT NULL,
    PRIMARY KEY (channel, release_id, mirror)
) STRICT, WITHOUT ROWID;
