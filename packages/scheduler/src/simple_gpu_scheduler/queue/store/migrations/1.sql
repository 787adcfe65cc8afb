-- Jobs, what they need, where they run, and their attempts.
CREATE TABLE contexts (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    content BLOB NOT NULL
);
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again
    state TEXT NOT NULL,
    command BLOB NOT NULL,
    context INTEGER NOT NULL REFERENCES contexts (id),
    gpus INTEGER NOT NULL,
    slots INTEGER NOT NULL,  -- so many of such jobs fill a GPU
    memory_mib INTEGER,
    auto_memory INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    blockers INTEGER NOT NULL,
    not_before_s REAL,
    timeout_s REAL,
    tries INTEGER NOT NULL,
    name TEXT NOT NULL,
    group_name TEXT NOT NULL,
    key TEXT,
    submitted_s REAL NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    started_s REAL,
    ended_s REAL,
    exit_code INTEGER,
    signal INTEGER,
    reason TEXT NOT NULL DEFAULT '',
    gpu_names TEXT NOT NULL DEFAULT '',
    stop TEXT  -- why it is to be stopped, while it runs
);
CREATE INDEX jobs_ready ON jobs (priority DESC, id) WHERE state = 'queued' AND blockers = 0;
CREATE INDEX jobs_open ON jobs (state) WHERE state IN ('queued', 'held', 'running');
CREATE INDEX jobs_of_group ON jobs (group_name) WHERE group_name != '';
CREATE INDEX jobs_of_key ON jobs (key) WHERE key IS NOT NULL;
CREATE TABLE needs (
    job INTEGER NOT NULL REFERENCES jobs (id),
    needed INTEGER NOT NULL REFERENCES jobs (id),
    success INTEGER NOT NULL,  -- 0: it is enough that it has ended
    PRIMARY KEY (job, needed)
) WITHOUT ROWID;
CREATE INDEX needs_of ON needs (needed);
CREATE TABLE attempts (
    job INTEGER NOT NULL REFERENCES jobs (id),
    number INTEGER NOT NULL,
    launcher TEXT NOT NULL,
    gpu_names TEXT NOT NULL,
    started_s REAL NOT NULL,
    pid INTEGER,
    start_ticks INTEGER,
    boot TEXT NOT NULL,
    ended_s REAL,
    exit_code INTEGER,
    signal INTEGER,
    reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (job, number)
) WITHOUT ROWID;
