-- Every statement of the store except those that search.py puts together.

-- name: next_epoch
UPDATE boot SET epoch = epoch + 1 RETURNING epoch;

-- name: current_epoch
SELECT epoch FROM boot;

-- The first append of a stream. A saga id or request id that exists already gives no row.
-- name: create_saga
INSERT INTO sagas (saga_id, uid, request_id, definition, revision, status, version, epoch, attributes,
                   started_at, updated_at, ended_at, wake_at, rest, attention, failure, parent)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
RETURNING id;

-- Every later append names the row, by its number and by its name, and what it has to be: a stream that another writer
-- moved, or that a later epoch owns, is not changed. Attributes, identity and start are the first append's.
-- name: advance_saga
UPDATE sagas
SET version = ?, epoch = ?, updated_at = ?, attention = ?, failure = ?,
    status = ?, wake_at = ?, rest = ?, ended_at = ?
WHERE id = ? AND saga_id = ? AND version = ? AND epoch <= ?;

-- The same where all that the saga is found by is as it was. SQLite writes the entries of each index anew that has a
-- column which an UPDATE names, even where nothing of it changes: this one names none but that of sagas at rest.
-- name: stay_saga
UPDATE sagas
SET version = ?, epoch = ?, updated_at = ?, attention = ?, failure = ?
WHERE id = ? AND saga_id = ? AND version = ? AND epoch <= ?
  AND status = ? AND wake_at IS ? AND rest = ? AND ended_at IS NULL;

-- name: number
SELECT id FROM sagas WHERE saga_id = ?;

-- For so many records at once as the last line is repeated.
-- name: add_records
INSERT INTO records (saga, version, epoch, at, type, checksum, body) VALUES
(?, ?, ?, ?, ?, ?, ?);

-- name: standing
SELECT version, epoch FROM sagas WHERE saga_id = ?;

-- name: request_owner
SELECT saga_id FROM sagas WHERE request_id = ? AND request_id <> '';

-- name: stream
SELECT id, version FROM sagas WHERE saga_id = ?;

-- name: records
SELECT version, epoch, type, checksum, body FROM records WHERE saga = ? AND version > ? ORDER BY version LIMIT ?;

-- name: since
SELECT r.position, s.saga_id, r.version, r.epoch, r.type, r.checksum, r.body
FROM records r JOIN sagas s ON s.id = r.saga
WHERE r.position > ? ORDER BY r.position LIMIT ?;

-- What people did, newest first.
-- name: acts
SELECT r.position, s.saga_id, r.version, r.epoch, r.type, r.checksum, r.body
FROM records r JOIN sagas s ON s.id = r.saga
WHERE r.type = 'OperatorActed' AND r.position < ? ORDER BY r.position DESC LIMIT ?;

-- name: row
SELECT saga_id, uid, request_id, definition, revision, status, version, epoch, attributes,
       started_at, updated_at, ended_at, wake_at, rest, attention, failure, parent
FROM sagas WHERE saga_id = ?;

-- name: row_by_request
SELECT saga_id, uid, request_id, definition, revision, status, version, epoch, attributes,
       started_at, updated_at, ended_at, wake_at, rest, attention, failure, parent
FROM sagas WHERE request_id = ? AND request_id <> '';

-- name: versions
SELECT saga_id, version FROM sagas WHERE saga_id IN (SELECT value FROM json_each(?));

-- name: awake
SELECT saga_id, uid, request_id, definition, revision, status, version, epoch, attributes,
       started_at, updated_at, ended_at, wake_at, rest, attention, failure, parent
FROM sagas
WHERE saga_id > ? AND rest <> 'asleep' AND status NOT IN ('COMPLETED', 'COMPENSATED', 'TERMINATED')
ORDER BY saga_id LIMIT ?;

-- name: due
SELECT saga_id, uid, request_id, definition, revision, status, version, epoch, attributes,
       started_at, updated_at, ended_at, wake_at, rest, attention, failure, parent
FROM sagas
WHERE wake_at IS NOT NULL AND wake_at <= ? AND (wake_at, saga_id) > (?, ?)
  AND status NOT IN ('COMPLETED', 'COMPENSATED', 'TERMINATED')
ORDER BY wake_at, saga_id LIMIT ?;

-- name: put_revision
INSERT INTO revisions (definition, revision, source, descriptors, created_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
RETURNING 1;

-- name: activate_first
INSERT INTO active_revisions (definition, revision) VALUES (?, ?) ON CONFLICT DO NOTHING;

-- name: activate
INSERT INTO active_revisions (definition, revision)
SELECT definition, revision FROM revisions WHERE definition = ? AND revision = ?
ON CONFLICT (definition) DO UPDATE SET revision = excluded.revision
RETURNING 1;

-- name: revision
SELECT r.definition, r.revision, r.source, r.descriptors, r.created_at, a.revision = r.revision
FROM revisions r JOIN active_revisions a USING (definition)
WHERE r.definition = ? AND r.revision = ?;

-- name: active
SELECT definition, revision FROM active_revisions;

-- name: active_revision
SELECT r.definition, r.revision, r.source, r.descriptors, r.created_at, 1
FROM revisions r JOIN active_revisions a USING (definition, revision)
WHERE r.definition = ?;

-- name: definitions
SELECT r.definition, r.revision, r.source, r.descriptors, r.created_at, 1
FROM revisions r JOIN active_revisions a USING (definition, revision)
ORDER BY r.definition;

-- name: revisions
SELECT r.definition, r.revision, r.source, r.descriptors, r.created_at, a.revision = r.revision
FROM revisions r JOIN active_revisions a USING (definition)
WHERE r.definition = ? ORDER BY r.created_at DESC, r.revision DESC;

-- name: load_cursor
SELECT position FROM cursors WHERE name = ?;

-- name: places
SELECT name, position FROM cursors WHERE name IN (SELECT value FROM json_each(?));

-- name: advance_cursor
INSERT INTO cursors (name, position) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET position = max(position, excluded.position);

-- name: save_cursor
INSERT INTO cursors (name, position) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET position = excluded.position;

-- The earliest of a definition that ended before an instant and have no parent that is still there. As one row: after
-- each the reader's thread waits for its turn of the interpreter, beside a busy loop 5 ms and more.
-- name: forgettable
SELECT json_group_array(json_array(id, saga_id, version, parent)) FROM (
  SELECT id, saga_id, version, parent FROM sagas AS s
  WHERE definition = ? AND status IN ('COMPLETED', 'COMPENSATED', 'TERMINATED') AND ended_at < ?
    AND (parent IS NULL OR NOT EXISTS (SELECT 1 FROM sagas AS p WHERE p.saga_id = s.parent))
  ORDER BY ended_at, saga_id LIMIT ?
);

-- name: first_record
SELECT version, epoch, type, checksum, body FROM records WHERE saga = ? AND version = 1;

-- name: set_parent
UPDATE sagas SET parent = ? WHERE id = ? AND parent IS NULL;

-- All at once: after each statement the writer's thread waits for its turn of the interpreter, and the file is locked.
-- name: forget_records
DELETE FROM records WHERE saga IN (SELECT value FROM json_each(?));

-- Their attributes go with them.
-- name: forget_sagas
DELETE FROM sagas WHERE id IN (SELECT value FROM json_each(?));

-- Records as they lie here, by saga and version.
-- name: entries
SELECT s.saga_id, r.version, r.position, r.epoch, r.at, r.type, r.checksum, r.body
FROM sagas AS s CROSS JOIN records AS r ON r.saga = s.id
WHERE s.saga_id >= ?1 AND s.saga_id <= ?3 AND (s.saga_id > ?1 OR r.version > ?2)
ORDER BY s.saga_id, r.version LIMIT ?4;

-- name: last_position
SELECT seq FROM sqlite_sequence WHERE name = 'records';

-- name: cursors
SELECT name, position FROM cursors;

-- name: successor
SELECT successor FROM promotion;

-- name: retire
INSERT INTO promotion (id, successor) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET successor = excluded.successor;
