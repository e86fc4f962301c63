-- The server's state. Times are seconds since 1970 unless the name says millis; digests are 64 hex
-- digits; the schema refuses what the code must not do.

CREATE TABLE tokens (
    token_id      INTEGER PRIMARY KEY,
    name          TEXT NOT NULL,
    secret_sha256 TEXT NOT NULL UNIQUE,
    scopes        TEXT NOT NULL,           -- `publish:base operate`
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    revoked_at    INTEGER
) STRICT;

CREATE TABLE builds (
    build_id        INTEGER PRIMARY KEY,
    manifest_digest TEXT NOT NULL UNIQUE,  -- the same manifest again is the same build
    repo            TEXT NOT NULL,
    source_nevra    TEXT NOT NULL,
    source_name     TEXT NOT NULL,
    source_file     TEXT NOT NULL,
    buildinfo       TEXT NOT NULL,
    provenance      TEXT,
    uploaded_by     TEXT NOT NULL,
    received_at     INTEGER NOT NULL,
    changed_at      INTEGER NOT NULL,
    stage           TEXT NOT NULL CHECK (stage IN ('received', 'approved', 'held', 'rejected', 'signed', 'published')),
    stage_json      TEXT NOT NULL          -- the stage with its reasons or release
) STRICT;
CREATE INDEX builds_by_stage ON builds (stage, build_id);
CREATE INDEX builds_by_source ON builds (source_nevra);
CREATE INDEX builds_by_source_file ON builds (source_file);

CREATE TABLE packages (
    package_id          INTEGER PRIMARY KEY,
    build_id            INTEGER NOT NULL REFERENCES builds,
    repo                TEXT NOT NULL,
    nevra               TEXT NOT NULL,
    name                TEXT NOT NULL,
    arch                TEXT NOT NULL,
    summary             TEXT NOT NULL,
    header_digest       TEXT NOT NULL,
    unsigned_file       TEXT NOT NULL,
    unsigned_size_bytes INTEGER NOT NULL,
    href                TEXT NOT NULL,
    -- The signed file is another file: signing rewrites the signature header.
    signed_file         TEXT,
    signed_size_bytes   INTEGER,
    signed_head_bytes   INTEGER,           -- lead + signature header + main header
    detached_signature  TEXT,
    summary_statement   TEXT,              -- the signer's verification summary
    added_at            INTEGER,           -- publish instant of the first release that has it
    retired             INTEGER NOT NULL DEFAULT 0, -- its build was rejected: the name is free again
    CHECK ((signed_file IS NULL) = (signed_size_bytes IS NULL)),
    CHECK ((signed_file IS NULL) = (signed_head_bytes IS NULL)),
    CHECK ((signed_file IS NULL) = (summary_statement IS NULL)),
    CHECK ((signed_file IS NULL) = (detached_signature IS NULL)),
    CHECK (added_at IS NULL OR signed_file IS NOT NULL)
) STRICT;
CREATE INDEX packages_by_build ON packages (build_id);
CREATE INDEX packages_by_name ON packages (name);
CREATE INDEX packages_by_header ON packages (header_digest);
CREATE INDEX packages_by_unsigned_file ON packages (unsigned_file);
CREATE INDEX packages_by_signed_file ON packages (signed_file);
-- One NEVRA, one set of bytes.
CREATE UNIQUE INDEX packages_by_nevra ON packages (repo, nevra) WHERE retired = 0;
CREATE UNIQUE INDEX packages_by_href ON packages (repo, href) WHERE retired = 0;

CREATE TABLE evidence (
    evidence_id INTEGER PRIMARY KEY,
    build_id    INTEGER NOT NULL REFERENCES builds,
    package_id  INTEGER REFERENCES packages, -- NULL: about the whole build
    kind        TEXT NOT NULL,
    label       TEXT NOT NULL,
    digest      TEXT NOT NULL,
    media_type  TEXT NOT NULL,
    made_at     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX evidence_once ON evidence (build_id, coalesce(package_id, 0), kind, label, digest);
CREATE INDEX evidence_by_digest ON evidence (digest);

-- Answers that are revealed together: whoever is in a round committed before the round was shown.
CREATE TABLE rounds (
    round_id     INTEGER PRIMARY KEY,
    build_id     INTEGER NOT NULL REFERENCES builds,
    opened_at    INTEGER NOT NULL,
    reveal_until INTEGER NOT NULL,         -- who has not revealed by then is given up
    commitments  TEXT NOT NULL             -- JSON list of digests, sorted
) STRICT;
CREATE INDEX rounds_by_build ON rounds (build_id);

CREATE TABLE rebuilds (
    rebuild_id    INTEGER PRIMARY KEY,
    build_id      INTEGER NOT NULL REFERENCES builds,
    rebuilder     TEXT NOT NULL,
    operator      TEXT NOT NULL,
    arch          TEXT NOT NULL,
    -- leased: it is being rebuilt; committed: there is an answer, sealed; revealing: it is being told
    state         TEXT NOT NULL CHECK (state IN ('waiting', 'leased', 'committed', 'revealing', 'done', 'failed')),
    attempt       INTEGER NOT NULL DEFAULT 0,
    runs          INTEGER NOT NULL DEFAULT 1, -- how often it is to be built; more for flaky packages
    recalls       INTEGER NOT NULL DEFAULT 0, -- times it was asked anew, for a later round
    run_at        INTEGER NOT NULL,
    lease_epoch   INTEGER NOT NULL DEFAULT 0,
    lease_until   INTEGER,
    profile       TEXT,                       -- challenge profile, given with the first lease
    commitment    TEXT,                       -- digest of the envelope
    committed_at  INTEGER,
    round_id      INTEGER REFERENCES rounds,
    verdict       TEXT,
    causes        TEXT NOT NULL DEFAULT '[]',
    last_error    TEXT,
    log           TEXT,
    UNIQUE (build_id, rebuilder),
    CHECK ((state IN ('leased', 'revealing')) = (lease_until IS NOT NULL)),
    CHECK ((commitment IS NULL) = (committed_at IS NULL)),
    CHECK (state NOT IN ('committed', 'revealing') OR commitment IS NOT NULL),
    CHECK (state <> 'revealing' OR round_id IS NOT NULL),
    CHECK (state <> 'done' OR verdict IS NOT NULL)
) STRICT;
CREATE INDEX rebuilds_to_do ON rebuilds (rebuilder, state, run_at);

-- Rebuilders that asked to be let in. Those of the policy are not here; whether statements count is
-- for the policy alone to say.
CREATE TABLE enrolments (
    name          TEXT NOT NULL,
    request_key   TEXT NOT NULL,
    operator      TEXT NOT NULL,
    statement_key TEXT NOT NULL,
    contact       TEXT NOT NULL,
    standing      TEXT NOT NULL CHECK (standing IN ('pending', 'approved', 'rejected')),
    requested_at  INTEGER NOT NULL,
    decided_at    INTEGER,
    PRIMARY KEY (name, request_key),
    CHECK ((standing = 'pending') = (decided_at IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX enrolments_approved ON enrolments (name) WHERE standing = 'approved';

CREATE TABLE rebuilder_modes (
    name      TEXT PRIMARY KEY,
    mode      TEXT NOT NULL DEFAULT 'active' CHECK (mode IN ('active', 'paused', 'draining')),
    last_seen INTEGER
) STRICT, WITHOUT ROWID;

-- What rebuilders stored: their reports may name nothing else.
CREATE TABLE worker_blobs (
    rebuilder  TEXT NOT NULL,
    digest     TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    stored_at  INTEGER NOT NULL,
    PRIMARY KEY (rebuilder, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX worker_blobs_by_age ON worker_blobs (stored_at);

CREATE TABLE worker_nonces (
    nonce   TEXT PRIMARY KEY,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
    job_id        INTEGER PRIMARY KEY,
    name          TEXT NOT NULL,
    input         TEXT NOT NULL,
    build_id      INTEGER REFERENCES builds, -- NULL: about no single build
    state         TEXT NOT NULL CHECK (state IN ('waiting', 'running')),
    attempt       INTEGER NOT NULL DEFAULT 0,
    run_at_millis INTEGER NOT NULL,
    lease_until   INTEGER,
    last_error    TEXT,
    CHECK ((state = 'running') = (lease_until IS NOT NULL))
) STRICT;
-- Work asked for twice before it starts is done once; asked for while it runs, it runs again.
CREATE UNIQUE INDEX jobs_once ON jobs (name, input) WHERE state = 'waiting';
CREATE INDEX jobs_to_do ON jobs (state, run_at_millis);
CREATE INDEX jobs_by_build ON jobs (build_id);

-- A release that was begun. Once `made` is set the signer may have signed it, and from then on it
-- is these bytes or none.
CREATE TABLE release_plans (
    release_id INTEGER PRIMARY KEY,
    base       INTEGER,
    issued     INTEGER NOT NULL,
    builds     TEXT NOT NULL,              -- JSON list of build ids
    made       TEXT                        -- JSON: the document and what it names
) STRICT;

CREATE TABLE releases (
    release_id INTEGER PRIMARY KEY,
    issued     INTEGER NOT NULL UNIQUE,
    envelope   TEXT NOT NULL
) STRICT;

CREATE TABLE release_repos (
    release_id       INTEGER NOT NULL REFERENCES releases,
    repo             TEXT NOT NULL,
    arch             TEXT NOT NULL,
    repomd           TEXT NOT NULL,
    repomd_signature TEXT NOT NULL,
    repomd_post_quantum TEXT,              -- its post-quantum signature, unless the signer makes none
    package_list     TEXT NOT NULL,
    packages         INTEGER NOT NULL,
    PRIMARY KEY (release_id, repo, arch)
) STRICT, WITHOUT ROWID;

CREATE INDEX releases_by_envelope ON releases (envelope);
CREATE INDEX release_repos_by_list ON release_repos (package_list);
CREATE INDEX release_repos_by_repomd ON release_repos (repomd);
CREATE INDEX release_repos_by_signature ON release_repos (repomd_signature);

-- Names never change their meaning, so a client with an old repomd.xml finds what it names.
CREATE TABLE repodata_files (
    repo       TEXT NOT NULL,
    arch       TEXT NOT NULL,
    name       TEXT NOT NULL,
    file       TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    release_id INTEGER NOT NULL,           -- the first that had it
    PRIMARY KEY (repo, arch, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
    repo            TEXT NOT NULL,
    arch            TEXT NOT NULL,
    package_id      INTEGER NOT NULL REFERENCES packages,
    added_release   INTEGER NOT NULL,
    removed_release INTEGER,
    PRIMARY KEY (repo, arch, package_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_by_release ON members (added_release);

CREATE TABLE channels (
    channel    TEXT PRIMARY KEY,
    release_id INTEGER REFERENCES releases,
    moved_at   INTEGER,
    follows    INTEGER NOT NULL            -- 1: moved to each new release
) STRICT, WITHOUT ROWID;

CREATE TABLE channel_moves (
    move_id      INTEGER PRIMARY KEY,
    channel      TEXT NOT NULL,
    from_release INTEGER,
    to_release   INTEGER NOT NULL,
    moved_at     INTEGER NOT NULL,
    actor        TEXT NOT NULL
) STRICT;
CREATE INDEX channel_moves_by_release ON channel_moves (channel, to_release);

CREATE TABLE audit (
    audit_id INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    actor    TEXT NOT NULL,
    action   TEXT NOT NULL,
    subject  TEXT NOT NULL,
    detail   TEXT NOT NULL
) STRICT;
