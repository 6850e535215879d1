-- How far each job has come. Times are milliseconds since 1970.
CREATE TABLE jobs (
    name TEXT PRIMARY KEY NOT NULL,
    -- As it is written: another text is another schedule.
    schedule TEXT NOT NULL,
    anchor INTEGER NOT NULL,
    upto INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    -- Who has switched it off, where an operator did.
    disabled_by TEXT
) STRICT, WITHOUT ROWID;

-- The clocks when they were looked at last.
CREATE TABLE clock (
    one INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
    wall INTEGER NOT NULL,
    since_boot INTEGER NOT NULL,
    boot TEXT NOT NULL
) STRICT;

-- Runs. One that was missed may stand for several.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    due INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    last_due INTEGER NOT NULL,
    count INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('scheduled', 'running', 'ok', 'failed', 'timed-out', 'refused', 'missed', 'unknown')),
    -- It does not begin before.
    begin INTEGER NOT NULL,
    started INTEGER,
    ended INTEGER,
    reason TEXT NOT NULL DEFAULT '',
    request TEXT,
    -- Who had it run, where that was not the schedule.
    asked_by TEXT,
    UNIQUE (job, epoch, due, attempt)
) STRICT;
CREATE INDEX runs_open ON runs (state) WHERE state IN ('scheduled', 'running');

-- What is to be told, or was.
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY NOT NULL,
    run INTEGER,
    job TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- Both as JSON.
    target TEXT NOT NULL,
    message TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'failed', 'dead-letter')),
    tries INTEGER NOT NULL DEFAULT 0,
    -- When it is tried next.
    next INTEGER NOT NULL,
    error TEXT NOT NULL DEFAULT '',
    created INTEGER NOT NULL,
    settled INTEGER,
    -- Who has read it, of the operators' list and of dead letters.
    read_by TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_open ON deliveries (next) WHERE state IN ('pending', 'failed');
CREATE INDEX deliveries_run ON deliveries (run);
