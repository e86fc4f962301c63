-- What is inside the packages, read from their SBOMs. All of it can be made again from the stored
-- documents; none of it is the only copy of anything but the advisories that the operator imported.

CREATE TABLE state (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO state VALUES ('osv_generation', 0);

-- The last row of the server's evidence that was looked at; it moves in the transaction that stores
-- what was found there. Digest and time tell it from a row that got the same number in another
-- history: of a database that was restored and went on.
CREATE TABLE position (
    only        INTEGER PRIMARY KEY CHECK (only = 1),
    evidence_id INTEGER NOT NULL,
    digest      TEXT NOT NULL,
    made_at     INTEGER NOT NULL
) STRICT;
INSERT INTO position VALUES (1, 0, '', 0);

CREATE TABLE buildinfos (
    buildinfo_id INTEGER PRIMARY KEY,
    digest       TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE tools (
    buildinfo_id INTEGER NOT NULL REFERENCES buildinfos,
    name         TEXT NOT NULL,
    version      TEXT NOT NULL,
    arch         TEXT NOT NULL,
    -- Questions go from build to build.
    PRIMARY KEY (name, buildinfo_id, version, arch)
) STRICT, WITHOUT ROWID;
CREATE INDEX tools_by_buildinfo ON tools (buildinfo_id);

-- One SBOM a package; the header digest names the package before and after signing.
CREATE TABLE documents (
    document_id  INTEGER PRIMARY KEY,
    header       TEXT NOT NULL UNIQUE,
    sbom         TEXT NOT NULL,
    format       TEXT NOT NULL,
    purl         TEXT NOT NULL,
    buildinfo_id INTEGER REFERENCES buildinfos,
    error        TEXT                      -- why the document could not be read, if it could not
) STRICT;
CREATE INDEX documents_by_buildinfo ON documents (buildinfo_id);

CREATE TABLE names (
    name_id   INTEGER PRIMARY KEY,
    ecosystem TEXT NOT NULL,               -- type of the package URL
    name      TEXT NOT NULL,               -- namespace/name; of RPMs the name alone
    UNIQUE (name, ecosystem)
) STRICT;

CREATE TABLE components (
    component_id INTEGER PRIMARY KEY,
    purl         TEXT NOT NULL UNIQUE,
    name_id      INTEGER NOT NULL REFERENCES names,
    version      TEXT NOT NULL             -- '' when none is known; of RPMs [epoch:]version-release
) STRICT;
CREATE INDEX components_by_name ON components (name_id);

CREATE TABLE licences (
    licence_id INTEGER PRIMARY KEY,
    raw        TEXT NOT NULL,
    expression TEXT NOT NULL,
    mapped     INTEGER NOT NULL,           -- 0: part of it is only a reference to its own text
    UNIQUE (raw, expression)
) STRICT;

CREATE TABLE occurrences (
    component_id INTEGER NOT NULL REFERENCES components,
    document_id  INTEGER NOT NULL REFERENCES documents,
    -- self: the package; upstream: the packaged project under its own name; source: the source
    -- package; part: something inside
    relation     TEXT NOT NULL CHECK (relation IN ('self', 'upstream', 'source', 'part')),
    excluded     INTEGER NOT NULL,         -- 1: took part in the build only
    methods      TEXT NOT NULL,            -- JSON
    licence_id   INTEGER REFERENCES licences,
    PRIMARY KEY (component_id, document_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX occurrences_by_document ON occurrences (document_id, relation, licence_id);
CREATE INDEX occurrences_by_licence ON occurrences (licence_id, document_id) WHERE licence_id IS NOT NULL;

CREATE TABLE places (
    document_id  INTEGER NOT NULL REFERENCES documents,
    component_id INTEGER NOT NULL,
    path         TEXT NOT NULL,
    PRIMARY KEY (document_id, component_id, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE edges (
    document_id    INTEGER NOT NULL REFERENCES documents,
    to_component   INTEGER NOT NULL,
    from_component INTEGER NOT NULL,
    PRIMARY KEY (document_id, to_component, from_component)
) STRICT, WITHOUT ROWID;

CREATE TABLE files (
    file_id     INTEGER PRIMARY KEY,
    document_id INTEGER NOT NULL REFERENCES documents,
    path        TEXT NOT NULL,
    sha1        BLOB NOT NULL,
    sha256      BLOB NOT NULL,
    sha512      BLOB NOT NULL
) STRICT;
CREATE INDEX files_by_document ON files (document_id);
-- Eight bytes find the few candidates; the whole digest decides.
CREATE INDEX files_by_sha1 ON files (substr(sha1, 1, 8));
CREATE INDEX files_by_sha256 ON files (substr(sha256, 1, 8));
CREATE INDEX files_by_sha512 ON files (substr(sha512, 1, 8));

-- Advisories, imported by the operator (OSV schema 1.7). A set is filled beside the one in use.
CREATE TABLE osv_advisories (
    advisory_id INTEGER PRIMARY KEY,
    generation  INTEGER NOT NULL,
    id          TEXT NOT NULL,
    aliases     TEXT NOT NULL,             -- JSON list
    summary     TEXT NOT NULL,
    severity    TEXT NOT NULL,
    modified    TEXT NOT NULL
) STRICT;
CREATE INDEX osv_by_id ON osv_advisories (id);

CREATE TABLE osv_affected (
    affected_id INTEGER PRIMARY KEY,
    advisory_id INTEGER NOT NULL REFERENCES osv_advisories,
    generation  INTEGER NOT NULL,
    ecosystem   TEXT NOT NULL,
    name        TEXT NOT NULL,
    affected    TEXT NOT NULL              -- JSON: ranges and versions
) STRICT;
CREATE INDEX osv_affected_by_name ON osv_affected (name, ecosystem, generation);

-- Names that are in a package and in an advisory: where versions have to be compared.
CREATE TABLE exposed (
    affected_id INTEGER NOT NULL,
    name_id     INTEGER NOT NULL,
    PRIMARY KEY (affected_id, name_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX exposed_by_name ON exposed (name_id);
