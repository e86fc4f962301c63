-- What released packages are called, say about themselves, provide, need and hold. Made of their headers
-- alone, so all of it can be made again; which release has a package is asked of the server's own tables.

-- The package that was looked at last, in the release that brought or removed it. The envelope tells
-- whether that release is still the one that was read.
CREATE TABLE seen (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    release_id INTEGER NOT NULL,
    package_id INTEGER NOT NULL,
    envelope   TEXT NOT NULL
) STRICT;
INSERT INTO seen VALUES (1, 0, 0, '');

CREATE TABLE indexed (package_id INTEGER PRIMARY KEY) STRICT;

-- One row a name that the newest release has.
CREATE TABLE names (
    name_id INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    folded  TEXT NOT NULL,                 -- in lowercase
    evr     TEXT NOT NULL,                 -- of its newest package
    summary TEXT NOT NULL                  -- of its newest package
) STRICT;
CREATE INDEX names_by_folded ON names (folded);

CREATE VIRTUAL TABLE words USING fts5 (
    name, summary, content = '', contentless_delete = 1, tokenize = 'unicode61', prefix = '2 3'
);

CREATE TABLE capabilities (
    capability_id INTEGER PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    directory     TEXT,                    -- of a path that some package needs, with a slash at its end
    base          TEXT,
    CHECK ((directory IS NULL) = (base IS NULL))
) STRICT;
CREATE INDEX capabilities_that_are_paths ON capabilities (directory, base) WHERE directory IS NOT NULL;

CREATE TABLE provides (
    capability_id INTEGER NOT NULL REFERENCES capabilities,
    package_id    INTEGER NOT NULL,
    sense         INTEGER NOT NULL,        -- 2 less, 4 greater, 8 equal, and their sums; 0 without a version
    version       TEXT NOT NULL,
    PRIMARY KEY (capability_id, package_id, sense, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE needs (
    need_id       INTEGER PRIMARY KEY,
    capability_id INTEGER NOT NULL REFERENCES capabilities,
    name          TEXT NOT NULL,           -- of the package that needs it
    package_id    INTEGER NOT NULL,
    kind          TEXT NOT NULL,           -- requires, recommends, suggests, supplements, enhances
    sense         INTEGER NOT NULL,
    version       TEXT NOT NULL,
    rich          TEXT                     -- the whole dependency when this is only a part of it
) STRICT;
CREATE INDEX needs_by_capability ON needs (capability_id, name, package_id);

CREATE TABLE directories (
    directory_id INTEGER PRIMARY KEY,
    path         TEXT NOT NULL UNIQUE      -- with a slash at its end
) STRICT;

CREATE TABLE files (
    directory_id INTEGER NOT NULL REFERENCES directories,
    base         TEXT NOT NULL,
    package_id   INTEGER NOT NULL,
    PRIMARY KEY (directory_id, base, package_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX files_by_base ON files (base);
