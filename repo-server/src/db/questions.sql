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
