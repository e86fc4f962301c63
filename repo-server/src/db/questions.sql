-- What questions about SBOMs need beside the index: made where it is missing, so that a database from
-- before it is brought up to date by opening it.

CREATE INDEX IF NOT EXISTS packages_by_header ON packages (header_digest);
CREATE INDEX IF NOT EXISTS members_by_package ON members (package_id, added_release, removed_release);
CREATE INDEX IF NOT EXISTS members_removed ON members (removed_release) WHERE removed_release IS NOT NULL;

-- Statements about vulnerabilities as they were uploaded; the object store has the bytes.
CREATE TABLE IF NOT EXISTS vex_documents (
    document_id  INTEGER PRIMARY KEY,
    digest       TEXT NOT NULL UNIQUE,
    format       TEXT NOT NULL CHECK (format IN ('openvex', 'csaf')),
    name         TEXT NOT NULL,            -- the document's own identifier
    author       TEXT NOT NULL,
    issued       TEXT NOT NULL,            -- as the document says
    statements   INTEGER NOT NULL,
    uploaded_by  TEXT NOT NULL,
    uploaded_at  INTEGER NOT NULL,
    withdrawn_at INTEGER
) STRICT;

CREATE TABLE IF NOT EXISTS vex_statements (
    statement_id  INTEGER PRIMARY KEY,
    document_id   INTEGER NOT NULL REFERENCES vex_documents,
    vulnerability TEXT NOT NULL,
    product       TEXT NOT NULL,           -- package URL
    subcomponent  TEXT,                    -- package URL
    status        TEXT NOT NULL CHECK (status IN ('affected', 'not_affected', 'fixed', 'under_investigation')),
    justification TEXT,
    remark        TEXT,
    stated_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS vex_by_vulnerability ON vex_statements (vulnerability);
CREATE INDEX IF NOT EXISTS vex_by_document ON vex_statements (document_id);

-- Whose signature a package carries: fingerprint of the OpenPGP certificate. Packages that were signed before
-- this was kept are not here.
CREATE TABLE IF NOT EXISTS package_signers (
    package_id  INTEGER PRIMARY KEY REFERENCES packages,
    certificate TEXT NOT NULL
) STRICT;

-- SHA-512 of published files, which is not in their metadata: computed once each.
CREATE TABLE IF NOT EXISTS file_sha512 (
    file   TEXT PRIMARY KEY,               -- SHA-256 of the file
    sha512 TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What is made of each repository of a release after it: its SBOMs as a whole, by the name of their
-- format, and `requirements`.
CREATE TABLE IF NOT EXISTS release_documents (
    release_id        INTEGER NOT NULL REFERENCES releases,
    repo              TEXT NOT NULL,
    arch              TEXT NOT NULL,
    label             TEXT NOT NULL,
    digest            TEXT NOT NULL,       -- of the document
    size_bytes        INTEGER NOT NULL,
    packed            TEXT NOT NULL,       -- the stored object: the same, compressed with zstd
    packed_size_bytes INTEGER NOT NULL,
    PRIMARY KEY (release_id, repo, arch, label)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS release_documents_by_packed ON release_documents (packed);
