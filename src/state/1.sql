-- Standing grants. Times are milliseconds since 1970. A grant that was revoked stays, so that it can be shown.
CREATE TABLE grants (
    id TEXT PRIMARY KEY NOT NULL,
    -- 'session' or 'always'; a session grant names its session.
    scope TEXT NOT NULL CHECK (scope IN ('session', 'always')),
    session TEXT CHECK ((scope = 'session') = (session IS NOT NULL)),
    uid INTEGER NOT NULL,
    -- What it is bound to, as JSON.
    bound TEXT NOT NULL,
    approver_uid INTEGER NOT NULL,
    approver TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    revoked INTEGER,
    revoked_by TEXT,
    uses INTEGER NOT NULL DEFAULT 0,
    last_used INTEGER
) STRICT, WITHOUT ROWID;

-- Every answer of a person, once: a second one of the same question breaks the key.
CREATE TABLE answers (
    approval TEXT PRIMARY KEY NOT NULL,
    request TEXT NOT NULL,
    answer TEXT NOT NULL,
    approver_uid INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_at ON answers (at);

-- Who was let in by a pairing code.
CREATE TABLE principals (
    uid INTEGER PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    approver_uid INTEGER NOT NULL,
    approver TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

-- Codes that wait. The code itself is nowhere.
CREATE TABLE pairings (
    id TEXT PRIMARY KEY NOT NULL,
    uid INTEGER NOT NULL,
    -- Who shares its places: whoever owns a range of subordinate ids owns those.
    bucket INTEGER NOT NULL,
    salt BLOB NOT NULL,
    hash BLOB NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How the asks of a principal are answered, where that is not by a person.
CREATE TABLE modes (
    uid INTEGER PRIMARY KEY NOT NULL,
    mode TEXT NOT NULL,
    approver_uid INTEGER NOT NULL,
    approver TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
