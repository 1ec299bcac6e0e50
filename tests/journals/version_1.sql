CREATE TABLE runs(
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  workflow TEXT NOT NULL,
  environment TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status = 'running' OR status = 'waiting' OR status = 'parked' OR status = 'rolling back' OR status = 'completed' OR status = 'failed' OR status = 'cancelled'),
  reason TEXT,
  epoch INTEGER NOT NULL CHECK (epoch >= 0),
  seq INTEGER NOT NULL CHECK (seq >= 1),
  head BLOB NOT NULL CHECK (length(head) = 32),
  owner TEXT,
  due REAL,
  crashes INTEGER NOT NULL DEFAULT 0 CHECK (crashes >= 0),
  standing INTEGER NOT NULL DEFAULT 0 CHECK (standing >= 0),
  input_digest TEXT NOT NULL,
  tags TEXT NOT NULL,
  created REAL NOT NULL,
  updated REAL NOT NULL,
  finished REAL,
  CHECK ((finished IS NOT NULL) = (status = 'cancelled' OR status = 'completed' OR status = 'failed')),
  CHECK (finished IS NULL OR (owner IS NULL AND due IS NULL)),
  CHECK (status <> 'parked' OR (reason IS NOT NULL AND (reason = 'letter' OR reason = 'doubt' OR reason = 'diverged' OR reason = 'broken' OR reason = 'poison')))
) STRICT;
CREATE INDEX runs_due ON runs(environment, workflow, due) WHERE owner IS NULL AND due IS NOT NULL;
CREATE INDEX runs_owner ON runs(owner, due) WHERE owner IS NOT NULL;
CREATE INDEX runs_status ON runs(status);
CREATE INDEX runs_finished ON runs(finished) WHERE finished IS NOT NULL;

CREATE TABLE tags(
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  run INTEGER NOT NULL REFERENCES runs(number),
  PRIMARY KEY (name, value, run)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_run ON tags(run);

CREATE TABLE events(
  id INTEGER PRIMARY KEY,
  run INTEGER NOT NULL REFERENCES runs(number),
  seq INTEGER NOT NULL,
  time REAL NOT NULL,
  type TEXT NOT NULL,
  path TEXT NOT NULL,
  payload TEXT,
  digest BLOB CHECK ((digest IS NULL) = (payload IS NOT NULL)),
  hash BLOB NOT NULL,
  UNIQUE (run, seq)
) STRICT;

CREATE TABLE waiting(
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  run INTEGER NOT NULL REFERENCES runs(number),
  path TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind = 'approval' OR kind = 'escalation' OR kind = 'letter' OR kind = 'doubt' OR kind = 'question' OR kind = 'diverged' OR kind = 'broken' OR kind = 'poison'),
  title TEXT NOT NULL,
  shows TEXT NOT NULL,
  decisions TEXT NOT NULL,
  role TEXT,
  created REAL NOT NULL,
  due REAL,
  digest TEXT NOT NULL,
  environment TEXT NOT NULL
) STRICT;
CREATE INDEX waiting_run ON waiting(run);
CREATE INDEX waiting_created ON waiting(created, number);

CREATE TABLE mailbox(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  run INTEGER NOT NULL REFERENCES runs(number),
  kind TEXT NOT NULL CHECK (kind = 'signal' OR kind = 'decision' OR kind = 'cancel' OR kind = 'resume'),
  body TEXT NOT NULL,
  time REAL NOT NULL
) STRICT;
CREATE INDEX mailbox_run ON mailbox(run);

CREATE TABLE keys(
  environment TEXT NOT NULL,
  tool TEXT NOT NULL,
  key TEXT NOT NULL,
  run_id TEXT NOT NULL,
  path TEXT NOT NULL,
  generation INTEGER NOT NULL CHECK (generation >= 1),
  digest TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state = 'held' OR state = 'done' OR state = 'open'),
  result BLOB,
  shared INTEGER NOT NULL DEFAULT 0 CHECK (shared >= 0),
  PRIMARY KEY (environment, tool, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE blobs(
  run INTEGER NOT NULL REFERENCES runs(number),
  digest TEXT NOT NULL,
  content BLOB NOT NULL,
  UNIQUE (run, digest)
) STRICT;

CREATE TABLE chain(
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind = 'finished' OR kind = 'erased' OR kind = 'pruned'),
  run INTEGER NOT NULL,
  run_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  head BLOB NOT NULL,
  time REAL NOT NULL,
  hash BLOB NOT NULL
) STRICT;
