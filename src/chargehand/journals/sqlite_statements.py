"""Every statement the SQLite journal sends, named, each with what it is for. The tables are in `sqlite_schema`."""

from __future__ import annotations

# -- transactions ----------

BEGIN = "BEGIN IMMEDIATE"
"""Become the file's one writer; refused while another program writes."""
BEGIN_READING = "BEGIN"
"""One snapshot for a long read; it takes no lock that a writer wants."""
COMMIT = "COMMIT"
ROLLBACK = "ROLLBACK"
SAVEPOINT = "SAVEPOINT batch"
"""Only around a batch that can be refused after it has written something."""
RELEASE = "RELEASE batch"
ROLLBACK_BATCH = "ROLLBACK TO batch"

# -- creating and moving runs ----------

CREATE_RUN = """
INSERT INTO runs(id, workflow, environment, status, epoch, seq, head, owner, due, input_digest, tags, created, updated)
VALUES (?1, ?2, ?3, 'running', ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11) RETURNING number
"""
"""A new run."""

ADD_TAG = "INSERT INTO tags(name, value, run) VALUES (?, ?, ?)"
"""What `runs(tags=…)` looks up."""

ADD_EVENT = "INSERT INTO events(run, seq, time, type, path, payload, hash) VALUES (?, ?, ?, ?, ?, ?, ?)"
"""One event of a run."""

ADD_BLOB = "INSERT OR IGNORE INTO blobs(run, digest, content) VALUES (?, ?, ?)"
"""A large value, once per run and digest."""

GUARD = "SELECT 1 FROM runs WHERE number = ? AND epoch = ? AND seq = ? AND finished IS NULL"
"""Whether a batch would be let in: asked before a transactional effect does any work."""

MOVE = """
UPDATE runs SET seq = ?4, head = coalesce(?5, head), updated = coalesce(?6, updated), status = ?7, reason = ?8,
  standing = ?9, crashes = iif(?10, 0, crashes), owner = iif(?11, NULL, owner),
  due = CASE WHEN EXISTS (SELECT 1 FROM mailbox WHERE run = ?1) THEN 0.0 ELSE ?12 END
WHERE number = ?1 AND epoch = ?2 AND seq = ?3 AND finished IS NULL
"""
"""The guard of a batch: no row changes when the epoch or the seq is not the caller's. Unread mail keeps the run due."""

FINISH = """
UPDATE runs SET seq = ?4, head = coalesce(?5, head), updated = coalesce(?6, updated), status = ?7, reason = ?8,
  standing = ?9, crashes = iif(?10, 0, crashes), owner = NULL, due = NULL, finished = coalesce(?6, updated)
WHERE number = ?1 AND epoch = ?2 AND seq = ?3 AND finished IS NULL
"""
"""The same for a batch that ends the run."""

FOLD_MAIL = "DELETE FROM mailbox WHERE id = ? AND run = ?"
"""Mail that the batch's events account for."""

SETTLE_DUE = "UPDATE runs SET due = ?2 WHERE number = ?1 AND NOT EXISTS (SELECT 1 FROM mailbox WHERE run = ?1)"
"""After folding mail: the run is due when the batch says, unless newer mail came."""

# -- what waits for a person ----------

OPEN_WAITING = """
INSERT INTO waiting(id, run, path, kind, title, shows, decisions, role, created, due, digest, environment)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
ON CONFLICT (id) DO UPDATE SET path = excluded.path, kind = excluded.kind, title = excluded.title,
  shows = excluded.shows, decisions = excluded.decisions, role = excluded.role, created = excluded.created,
  due = excluded.due, digest = excluded.digest
WHERE run = excluded.run
"""
"""An entry; opening it again replaces what it shows."""

CLOSE_WAITING = "DELETE FROM waiting WHERE id = ? AND run = ?"
"""An entry that is answered."""

CLOSE_ALL_WAITING = "DELETE FROM waiting WHERE run = ?"
"""Nothing of this run waits any more."""

WAITING_COLUMNS = """
SELECT waiting.id, runs.id, path, kind, title, shows, decisions, role, waiting.created, waiting.due, digest,
  waiting.environment
FROM waiting JOIN runs ON runs.number = waiting.run
"""
"""The columns of a `Waiting`; conditions are added from the filters below."""

WAITING_OF_RUN = "waiting.run = (SELECT number FROM runs WHERE id = ?)"
WAITING_IN_ENVIRONMENT = "waiting.environment = ?"
WAITING_OF_KIND = "kind IN (SELECT value FROM json_each(?))"
WAITING_BY_ID = WAITING_COLUMNS + " WHERE waiting.id = ?"
WAITING_OLDEST_FIRST = " ORDER BY waiting.created, waiting.number LIMIT ?"

# -- business keys ----------

KEY = """
SELECT environment, tool, key, run_id, path, generation, digest, state, result, shared FROM keys
WHERE environment = ? AND tool = ? AND key = ?
"""
"""Who holds a business key."""

TAKE_KEY = """
INSERT INTO keys(environment, tool, key, run_id, path, generation, digest, state, result, shared)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'held', NULL, 0)
ON CONFLICT (environment, tool, key) DO UPDATE SET
  shared = iif(run_id = excluded.run_id AND path = excluded.path AND generation = excluded.generation, shared, 0),
  run_id = excluded.run_id, path = excluded.path, generation = excluded.generation, digest = excluded.digest,
  state = 'held', result = NULL
"""
"""Take a key that is free for the caller (it has looked, in the same transaction)."""

SET_KEY = """
UPDATE keys SET state = ?, result = ?
WHERE environment = ? AND tool = ? AND key = ? AND run_id = ? AND (shared = 0 OR NOT ?)
"""
"""What became of a key that the run holds."""

SHARE_KEY = "UPDATE keys SET shared = shared + 1 WHERE environment = ? AND tool = ? AND key = ? AND state = 'done'"
"""One more run uses the result."""

# -- mail ----------

RUN_NUMBER = "SELECT number FROM runs WHERE id = ?"
"""The run that mail is addressed to."""

POST = "INSERT INTO mailbox(run, kind, body, time) VALUES (?, ?, ?, ?) RETURNING id"
"""Mail for a run."""

MAKE_DUE = "UPDATE runs SET due = 0.0 WHERE number = ? AND finished IS NULL"
"""Mail makes its run due at once."""

MAIL_OF_RUN = "SELECT id, run, kind, body, time FROM mailbox WHERE run = ? ORDER BY id"
"""A run's unread mail."""

MAILED = """
SELECT number FROM runs WHERE owner = ? AND due = 0.0 AND EXISTS (SELECT 1 FROM mailbox WHERE run = number)
ORDER BY number
"""
"""An owner's runs with unread mail (such a run is always due at 0)."""

# -- claims ----------

DUE_RUNS = """
SELECT due, number, crashes FROM runs
WHERE environment = ? AND workflow = ? AND owner IS NULL AND due IS NOT NULL AND due <= ? AND crashes BETWEEN ? AND ?
ORDER BY due, number LIMIT ?
"""
"""Unowned runs of one workflow whose time has come and whose workers died so often, earliest first."""

OWNED_RUNS = """
SELECT number, workflow, crashes + (status = 'running' OR status = 'rolling back') FROM runs
WHERE owner = ? AND environment = ? ORDER BY number
"""
"""Runs of a worker that cannot be counted on (only unfinished runs have an owner)."""

CLAIMABLE_BY_ID = """
SELECT number, workflow, owner, due, crashes, status = 'running' OR status = 'rolling back' FROM runs WHERE id = ? AND environment = ? AND finished IS NULL
"""
"""A run asked for by id."""

OWNER_OF = "SELECT owner FROM runs WHERE number = ?"
"""Whom a run is taken from."""

TAKE_RUN = """
UPDATE runs SET owner = ?, epoch = epoch + 1, crashes = crashes + iif(status IN ('running', 'rolling back'), ?, 0)
WHERE number = ?
"""
"""The next epoch: from here on every older driver is fenced. A run that only waited had no part in its worker's death."""

NEXT_DUE = """
SELECT min(due) FROM runs WHERE environment = ? AND workflow = ? AND owner IS NULL AND due IS NOT NULL
"""
"""When the next unowned run of one workflow is due."""

OWNERS = """
WITH RECURSIVE found(owner) AS (
  SELECT min(owner) FROM runs WHERE owner IS NOT NULL
  UNION ALL SELECT (SELECT min(runs.owner) FROM runs WHERE runs.owner > found.owner) FROM found WHERE owner IS NOT NULL)
SELECT owner FROM found WHERE owner IS NOT NULL
"""
"""Every owner of a run, by jumps through the index."""

OWNS_RUNS = "SELECT EXISTS (SELECT 1 FROM runs WHERE owner = ?)"
"""Whether a worker's file may be removed."""

DISMISS = """
UPDATE runs SET owner = NULL, due = iif(status = 'running' OR status = 'rolling back', 0.0, due) WHERE owner = ?
"""
"""What a leaving worker still owns is free: due at once where work was under way, as it was where it waited."""

# -- reading ----------

RUN_COLUMNS = """
SELECT number, id, workflow, environment, status, reason, epoch, seq, head, owner, due, crashes, standing, input_digest,
  tags, created, updated FROM runs
"""
"""The columns of a `RunRow`; a condition follows."""

BY_ID = RUN_COLUMNS + " WHERE id = ?"
BY_NUMBER = RUN_COLUMNS + " WHERE number = ?"

RUNS_IN = " WHERE "
RUNS_NEWEST_FIRST = " ORDER BY number DESC LIMIT ?"
RUNS_OF_WORKFLOW = "workflow = ?"
RUNS_IN_ENVIRONMENT = "environment = ?"
RUNS_SINCE = "created >= ?"
RUNS_UNTIL = "created < ?"
RUNS_BEFORE = "number < ?"
RUNS_TAGGED = "number IN (SELECT run FROM tags WHERE name = ? AND value = ?)"
RUNS_WITH_STATUS = "status IN (SELECT value FROM json_each(?))"
RUNS_WITH_ID = "id IN (SELECT value FROM json_each(?))"
"""Conditions of `runs(…)`, joined by AND."""

EPOCH = "SELECT epoch FROM runs WHERE number = ?"
"""Whether a claim still holds."""

SEQ = "SELECT seq FROM runs WHERE number = ?"
"""How long a load will be."""

EVENTS = """
SELECT seq, time, type, path, CAST(payload AS BLOB), hash FROM events WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?
"""
"""A run's events in order."""

BLOB = "SELECT content FROM blobs WHERE run = ? AND digest = ?"
"""A large value."""

DATA_VERSION = "PRAGMA data_version"
"""A number that differs when any other connection has committed since."""

# -- keeping ----------

CHAIN_OF_RUN = """
SELECT seq, time, type, path, CAST(payload AS BLOB), digest, hash FROM events WHERE run = ? ORDER BY seq
"""
"""What a run's hash chain is computed from."""

CHAIN = """
SELECT chain.id, kind, run, run_id, chain.seq, chain.head, time, hash, runs.seq, runs.head
FROM chain LEFT JOIN runs ON runs.number = run AND kind = 'finished' AND finished IS NOT NULL ORDER BY chain.id
"""
"""The journal-wide chain, beside each finished head what its run says now."""

PRUNED = "SELECT run FROM chain WHERE kind = 'pruned'"
"""Runs that are gone, and were noted when they went."""

CHAIN_AFTER = "SELECT id, kind, run_id, seq, head, time, hash FROM chain WHERE id > ? ORDER BY id LIMIT ?"
"""A part of the journal-wide chain."""

CHAIN_HEAD = "SELECT hash FROM chain ORDER BY id DESC LIMIT 1"
"""The newest hash of the journal-wide chain."""

ADD_TO_CHAIN = "INSERT INTO chain(kind, run, run_id, seq, head, time, hash) VALUES (?, ?, ?, ?, ?, ?, ?)"
"""A finished head, an erasure or a prune."""

FINISHED_HEAD = "SELECT seq, head, finished FROM runs WHERE number = ? AND finished IS NOT NULL"
"""What a finished run says its head is, and when it ended."""

FINISHED_WITHOUT_LINK = """
SELECT id, seq FROM runs WHERE finished IS NOT NULL AND number NOT IN (SELECT run FROM chain WHERE kind = 'finished') LIMIT 1
"""
"""A run that has ended and is not in the chain: the chain was cut off, or the run was put in."""

PAYLOAD = "SELECT CAST(payload AS BLOB) FROM events WHERE run = ? AND seq = ? AND payload IS NOT NULL"
"""A payload about to be erased."""

ERASE = "UPDATE events SET payload = NULL, digest = ? WHERE run = ? AND seq = ?"
"""Take the payload away and keep what the chain needs of it."""

SECURE_DELETE_ON = "PRAGMA secure_delete = ON"
SECURE_DELETE_OFF = "PRAGMA secure_delete = OFF"
"""Around an erasure: what is deleted is overwritten with zeros, also in pages that are freed."""

ERASE_BLOB = "DELETE FROM blobs WHERE run = ? AND digest = ?"
"""A large value of an erased payload."""

PRUNABLE = """
SELECT number, id, seq, head FROM runs WHERE finished < ?1 AND (?3 IS NULL OR environment = ?3)
ORDER BY finished, number LIMIT ?2
"""
"""Runs that ended before a time, longest ago first."""

PRUNE = (
    "DELETE FROM events WHERE run = ?",
    "DELETE FROM blobs WHERE run = ?",
    "DELETE FROM mailbox WHERE run = ?",
    "DELETE FROM tags WHERE run = ?",
    "DELETE FROM waiting WHERE run = ?",
    "DELETE FROM runs WHERE number = ?",
)
"""Everything of a run except its business keys and its place in the chain."""

SCHEMA_VERSION = "PRAGMA user_version"
COUNT_BY_STATUS = "SELECT status, count(*) FROM runs GROUP BY status"
COUNT_UNFINISHED = """
SELECT environment, workflow, status, count(*) FROM runs WHERE finished IS NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
COUNT_WAITING = "SELECT kind, count(*) FROM waiting GROUP BY kind"
COUNT_EVENTS = "SELECT coalesce(sum(seq), 0) FROM runs"
COUNT_MAIL = "SELECT count(*) FROM mailbox"
COUNT_KEYS = "SELECT count(*) FROM keys"
COUNT_CHAIN = "SELECT count(*) FROM chain"
COUNT_PAGES = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
"""What `doctor` shows."""
