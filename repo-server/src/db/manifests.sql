-- The signed manifest of each repository of a release; releases made before there were any have none.
CREATE TABLE IF NOT EXISTS release_manifests (
    release_id   INTEGER NOT NULL REFERENCES releases,
    repo         TEXT NOT NULL,
    arch         TEXT NOT NULL,
    manifest     TEXT NOT NULL,
    signature    TEXT NOT NULL,
    post_quantum TEXT,                     -- its post-quantum signature, unless the signer makes none
    PRIMARY KEY (release_id, repo, arch)
) STRICT, WITHOUT ROWID;
