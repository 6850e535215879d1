-- What is known of the keys of models, by the names that digests give them: no key stands here. Times are milliseconds since
-- 1970.
CREATE TABLE model_keys (
    provider TEXT NOT NULL,
    key TEXT NOT NULL,
    used INTEGER NOT NULL,
    -- How often in a row it was not accepted.
    refused INTEGER NOT NULL,
    rests_until INTEGER,
    dead INTEGER NOT NULL CHECK (dead IN (0, 1)),
    PRIMARY KEY (provider, key)
) STRICT, WITHOUT ROWID;

-- How providers of models stand.
CREATE TABLE model_providers (
    name TEXT PRIMARY KEY NOT NULL,
    -- In a row.
    failures INTEGER NOT NULL,
    down_until INTEGER,
    why TEXT NOT NULL,
    -- The key that was taken last.
    last_key TEXT
) STRICT, WITHOUT ROWID;
