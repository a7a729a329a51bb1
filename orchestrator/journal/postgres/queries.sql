-- Every statement of the store except those that search.py puts together and those of the schema.

-- The group append. `me` takes a lock on the member's row that only its removal conflicts with; `wanted` leaves the
-- streams whose shard is this member's under the named epoch, and of the new ones those whose request id is free; the
-- conditions of a stream that exists stand in the upsert, where they are tested on the row as it is once it is locked.
-- The two looks into sagas are lateral and limited, so that there is but one way to take them, row by row by an index: as
-- EXISTS they may become a hash of all sagas, and a plan that was made and kept while the store was empty does that.
-- name: append
WITH me AS (
  SELECT member FROM members WHERE member = $1 FOR KEY SHARE
), wanted AS (
  SELECT w.*
  FROM me
  JOIN shards h ON h.owner = me.member
  JOIN unnest($2::saga_row[]) AS w
    ON w.shard = h.shard AND w.epoch = h.epoch
  LEFT JOIN LATERAL (SELECT o.saga_id FROM sagas o WHERE o.saga_id = w.saga_id LIMIT 1) s ON w.built_on > 0
  LEFT JOIN LATERAL (SELECT o.saga_id FROM sagas o WHERE o.request_id = w.request_id AND o.request_id <> '' LIMIT 1) q
    ON w.built_on = 0
  WHERE CASE WHEN w.built_on > 0 THEN s.saga_id IS NOT NULL ELSE q.saga_id IS NULL END
), written AS (
  INSERT INTO sagas (saga_id, uid, request_id, parent, shard, definition, revision, status,
                     version, built_on, epoch, attributes, started_at, updated_at, ended_at,
                     wake_at, rest, attention, failure)
  SELECT * FROM wanted
  ON CONFLICT (saga_id) DO UPDATE
  SET status = excluded.status, version = excluded.version, built_on = excluded.built_on, epoch = excluded.epoch,
      updated_at = excluded.updated_at, ended_at = excluded.ended_at, wake_at = excluded.wake_at,
      rest = excluded.rest, attention = excluded.attention, failure = excluded.failure
  WHERE sagas.version = excluded.built_on AND sagas.epoch <= excluded.epoch
    AND sagas.shard = excluded.shard AND sagas.uid = excluded.uid
  RETURNING saga_id, uid, shard, epoch, built_on
), added AS (
  INSERT INTO records (position, uid, version, shard, epoch, at, type, checksum, body)
  SELECT nextval('positions'), r.uid, r.version, r.shard, r.epoch, r.at, r.type, r.checksum, r.body
  FROM (
    SELECT i.uid, i.version, written.shard, written.epoch, i.at, i.type, i.checksum, i.body
    FROM unnest($3::record_row[]) WITH ORDINALITY AS i (uid, version, at, type, checksum, body, place)
    JOIN written ON written.uid = i.uid
    ORDER BY i.place
  ) r
), found AS (
  INSERT INTO terms (term, saga_id)
  SELECT t.term, written.saga_id
  FROM unnest($4::uuid[], $5::text[]) AS t (uid, term) JOIN written ON written.uid = t.uid AND written.built_on = 0
)
SELECT saga_id FROM written;

-- Why streams were not written, or whether they were, when the end of the statement is not known. Lateral as above.
-- name: standing
SELECT w.saga_id, s.version, s.epoch, s.uid = w.uid AND s.shard = w.shard, r.epoch, r.checksum, q.saga_id,
       EXISTS (SELECT 1 FROM shards h JOIN members m ON m.member = h.owner
               WHERE h.shard = w.shard AND h.epoch = w.epoch AND m.member = $1)
FROM unnest($2::text[], $3::uuid[], $4::text[], $5::int[], $6::int[], $7::bigint[])
  AS w (saga_id, uid, request_id, shard, version, epoch)
LEFT JOIN LATERAL (SELECT * FROM sagas o WHERE o.saga_id = w.saga_id LIMIT 1) s ON true
LEFT JOIN LATERAL (SELECT * FROM records o WHERE o.uid = w.uid AND o.version = w.version LIMIT 1) r ON true
LEFT JOIN LATERAL (
  SELECT o.saga_id FROM sagas o WHERE o.request_id = w.request_id AND o.request_id <> '' LIMIT 1
) q ON true;

-- The saga's own version beside each record, and alone where there is none: both as of one instant.
-- name: records
SELECT s.version, r.version, r.epoch, r.type, r.checksum, r.body
FROM sagas s LEFT JOIN records r ON r.uid = s.uid AND r.version > $2
WHERE s.saga_id = $1 ORDER BY r.version LIMIT $3;

-- name: since_of_shard
SELECT r.position, s.saga_id, r.shard, r.version, r.epoch, r.type, r.checksum, r.body
FROM (SELECT * FROM records WHERE shard = $3 AND position > $1 ORDER BY position LIMIT $2) r
CROSS JOIN LATERAL (SELECT o.saga_id FROM sagas o WHERE o.uid = r.uid LIMIT 1) s
ORDER BY r.position;

-- Every shard has an order of its own; the first of all are among the first of each.
-- name: since
SELECT r.position, s.saga_id, r.shard, r.version, r.epoch, r.type, r.checksum, r.body
FROM (
  SELECT first.shard, first.position
  FROM shards h
  CROSS JOIN LATERAL (
    SELECT shard, position FROM records WHERE shard = h.shard AND position > $1 ORDER BY position LIMIT $2
  ) first
  ORDER BY first.position LIMIT $2
) p
CROSS JOIN LATERAL (SELECT * FROM records o WHERE o.shard = p.shard AND o.position = p.position LIMIT 1) r
CROSS JOIN LATERAL (SELECT o.saga_id FROM sagas o WHERE o.uid = r.uid LIMIT 1) s
ORDER BY r.position;

-- As above, each shard behind a place of its own.
-- name: news
SELECT r.position, s.saga_id, r.shard, r.version, r.epoch, r.type, r.checksum, r.body
FROM (
  SELECT first.shard, first.position
  FROM unnest($1::int[], $2::bigint[]) AS w (shard, position)
  CROSS JOIN LATERAL (
    SELECT r.shard, r.position FROM records r
    WHERE r.shard = w.shard AND r.position > w.position ORDER BY r.position LIMIT $3
  ) first
  ORDER BY first.position LIMIT $3
) p
CROSS JOIN LATERAL (SELECT * FROM records o WHERE o.shard = p.shard AND o.position = p.position LIMIT 1) r
CROSS JOIN LATERAL (SELECT o.saga_id FROM sagas o WHERE o.uid = r.uid LIMIT 1) s
ORDER BY r.position;

-- What people did, newest first.
-- name: acts
SELECT r.position, s.saga_id, r.shard, r.version, r.epoch, r.type, r.checksum, r.body
FROM records r JOIN sagas s ON s.uid = r.uid
WHERE r.type = 'OperatorActed' AND r.position < $1 ORDER BY r.position DESC LIMIT $2;

-- name: row
SELECT saga_id, uid, request_id, definition, revision, status, version, epoch, attributes, started_at, updated_at,
       ended_at, wake_at, rest, attention, failure, parent, shard
FROM sagas WHERE saga_id = $1;

-- name: row_by_request
SELECT saga_id, uid, request_id, definition, revision, status, version, epoch, attributes, started_at, updated_at,
       ended_at, wake_at, rest, attention, failure, parent, shard
FROM sagas WHERE request_id = $1 AND request_id <> '';

-- Asked twenty times a second; lateral for the same reason as in `append`.
-- name: versions
SELECT s.saga_id, s.version
FROM unnest($1::text[]) AS w (saga_id)
CROSS JOIN LATERAL (SELECT o.saga_id, o.version FROM sagas o WHERE o.saga_id = w.saga_id LIMIT 1) s;

-- name: awake
SELECT saga_id, uid, request_id, definition, revision, status, version, epoch, attributes, started_at, updated_at,
       ended_at, wake_at, rest, attention, failure, parent, shard
FROM sagas
WHERE saga_id > $1 AND rest <> 'asleep' AND status NOT IN ('COMPLETED', 'COMPENSATED', 'TERMINATED')
  AND ($3::int[] IS NULL OR shard = ANY ($3::int[]))
ORDER BY saga_id LIMIT $2;

-- Those that sleep by their index, and those that are awake: as many as are under way, and no more.
-- name: due
SELECT * FROM ((
  SELECT saga_id, uid, request_id, definition, revision, status, version, epoch, attributes, started_at, updated_at,
         ended_at, wake_at, rest, attention, failure, parent, shard
  FROM sagas
  WHERE sleeps_to <= $1 AND (sleeps_to, saga_id) > ($2, $3)
    AND status NOT IN ('COMPLETED', 'COMPENSATED', 'TERMINATED')
    AND ($5::int[] IS NULL OR shard = ANY ($5::int[]))
  ORDER BY sleeps_to, saga_id LIMIT $4
) UNION ALL (
  SELECT saga_id, uid, request_id, definition, revision, status, version, epoch, attributes, started_at, updated_at,
         ended_at, wake_at, rest, attention, failure, parent, shard
  FROM sagas
  WHERE wake_at <= $1 AND (wake_at, saga_id) > ($2, $3)
    AND rest <> 'asleep' AND status NOT IN ('COMPLETED', 'COMPENSATED', 'TERMINATED')
    AND ($5::int[] IS NULL OR shard = ANY ($5::int[]))
  ORDER BY wake_at, saga_id LIMIT $4
)) AS due
ORDER BY wake_at, saga_id LIMIT $4;

-- As many as are one short transaction: the first, and those after it while their records are not too many in sum.
-- The parent is looked for in a CASE, of which the server expects half to hold. Of a join whose other side is missing it
-- expects one row in the whole store, and reads all that ended to find the first hundred.
-- name: forget
WITH candidates AS (
  SELECT s.saga_id, s.uid, s.version, s.ended_at
  FROM sagas s
  WHERE definition = $1 AND status IN ('COMPLETED', 'COMPENSATED', 'TERMINATED') AND ended_at < $2
    AND ($4::int[] IS NULL OR shard = ANY ($4::int[]))
    AND CASE WHEN s.parent = '' THEN true ELSE (SELECT p.saga_id FROM sagas p WHERE p.saga_id = s.parent) IS NULL END
  ORDER BY s.ended_at, s.saga_id LIMIT $3
), summed AS (
  SELECT saga_id, uid, version, sum(version) OVER (ORDER BY ended_at, saga_id) AS total FROM candidates
), gone AS (
  DELETE FROM sagas USING summed
  WHERE sagas.saga_id = summed.saga_id AND (total <= $5 OR total = summed.version)
  RETURNING sagas.saga_id, sagas.uid
), unrecorded AS (
  DELETE FROM records USING gone WHERE records.uid = gone.uid
), unfound AS (
  DELETE FROM terms USING gone WHERE terms.saga_id = gone.saga_id
)
SELECT count(*) FROM gone;

-- The first revision of a definition becomes active.
-- name: put_revision
WITH fresh AS (
  INSERT INTO revisions (definition, revision, source, descriptors, created_at) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT DO NOTHING
  RETURNING definition, revision
), first AS (
  INSERT INTO active_revisions (definition, revision) SELECT definition, revision FROM fresh ON CONFLICT DO NOTHING
)
SELECT count(*) FROM fresh;

-- name: activate
INSERT INTO active_revisions (definition, revision)
SELECT definition, revision FROM revisions WHERE definition = $1 AND revision = $2
ON CONFLICT (definition) DO UPDATE SET revision = excluded.revision
RETURNING 1;

-- name: revision
SELECT r.definition, r.revision, r.source, r.descriptors, r.created_at, a.revision = r.revision
FROM revisions r JOIN active_revisions a USING (definition)
WHERE r.definition = $1 AND r.revision = $2;

-- name: active_revision
SELECT r.definition, r.revision, r.source, r.descriptors, r.created_at, true
FROM revisions r JOIN active_revisions a USING (definition, revision)
WHERE r.definition = $1;

-- name: definitions
SELECT r.definition, r.revision, r.source, r.descriptors, r.created_at, true
FROM revisions r JOIN active_revisions a USING (definition, revision)
ORDER BY r.definition;

-- name: revisions
SELECT r.definition, r.revision, r.source, r.descriptors, r.created_at, a.revision = r.revision
FROM revisions r JOIN active_revisions a USING (definition)
WHERE r.definition = $1 ORDER BY r.created_at DESC, r.revision DESC;

-- name: active
SELECT definition, revision FROM active_revisions;

-- name: load_cursor
SELECT position FROM cursors WHERE name = $1;

-- name: save_cursor
INSERT INTO cursors (name, position) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET position = excluded.position;

-- name: places
SELECT name, position FROM cursors WHERE name = ANY ($1::text[]);

-- name: advance
INSERT INTO cursors (name, position) SELECT * FROM unnest($1::text[], $2::bigint[]) AS w (name, position) ORDER BY 1
ON CONFLICT (name) DO UPDATE SET position = excluded.position WHERE cursors.position < excluded.position;

-- The cluster at one instant, a column an array: one row, however many shards.
-- name: view
SELECT extract(epoch FROM clock_timestamp())::float8 AS at,
       m.members, m.names, m.addresses, m.leaving, m.joined, m.expire, s.shards, s.owners, s.epochs
FROM (
  SELECT array_agg(member ORDER BY member) AS members, array_agg(name ORDER BY member) AS names,
         array_agg(address ORDER BY member) AS addresses, array_agg(is_leaving ORDER BY member) AS leaving,
         array_agg(joined_at ORDER BY member) AS joined, array_agg(expires_at ORDER BY member) AS expire
  FROM members
) m CROSS JOIN (
  SELECT array_agg(shard ORDER BY shard) AS shards, array_agg(owner ORDER BY shard) AS owners,
         array_agg(epoch ORDER BY shard) AS epochs
  FROM shards
) s;

-- Nobody joins while another store is being taken in (0002_promotion.sql), and nobody twice.
-- name: join
WITH gate AS (
  SELECT id FROM promotion WHERE NOT is_under_way FOR SHARE
)
INSERT INTO members (member, name, address, is_leaving, joined_at, expires_at)
SELECT $1, $2, $3, $4, t.at, t.at + $5 FROM gate, (SELECT extract(epoch FROM clock_timestamp())::float8 AS at) t
ON CONFLICT (member) DO NOTHING
RETURNING 1;

-- name: is_member
SELECT 1 FROM members WHERE member = $1;

-- name: renew
UPDATE members SET expires_at = extract(epoch FROM clock_timestamp())::float8 + $2, is_leaving = $3
WHERE member = $1 RETURNING 1;

-- Shards that are free, and still at the epoch that was seen; `me` as in the append.
-- name: claim
WITH me AS (
  SELECT member FROM members WHERE member = $1 FOR KEY SHARE
)
UPDATE shards SET owner = me.member, epoch = shards.epoch + 1
FROM me, unnest($2::int[], $3::bigint[]) AS w (shard, epoch)
WHERE shards.shard = w.shard AND shards.epoch = w.epoch
  AND NOT EXISTS (SELECT 1 FROM members o WHERE o.member = shards.owner)
RETURNING shards.shard, shards.owner, shards.epoch;

-- name: give
WITH me AS (
  SELECT member FROM members WHERE member = $1 FOR KEY SHARE
)
UPDATE shards SET owner = $4, epoch = shards.epoch + 1
FROM me, unnest($2::int[], $3::bigint[]) AS w (shard, epoch)
WHERE shards.shard = w.shard AND shards.epoch = w.epoch AND shards.owner = me.member
RETURNING shards.shard, shards.owner, shards.epoch;

-- An append that is on its way holds the row: the removal waits for it, and whatever comes later finds no row.
-- name: fence
DELETE FROM members
WHERE member = ANY ($1::text[]) AND expires_at <= extract(epoch FROM clock_timestamp())::float8
RETURNING member;

-- name: leave
DELETE FROM members WHERE member = $1;

-- name: free
UPDATE shards SET owner = '', epoch = epoch + 1 WHERE owner = ANY ($1::text[]);

-- name: post
INSERT INTO posts (number, shard, method, request, metadata, posted_at)
VALUES (nextval('post_numbers'), $1, $2, $3, $4, extract(epoch FROM clock_timestamp())::float8)
RETURNING number;

-- name: posted
SELECT number, shard, method, request, metadata, posted_at FROM posts
WHERE answered_at IS NULL AND shard = ANY ($1::int[]) ORDER BY number LIMIT $2;

-- name: answer
UPDATE posts SET answered_at = extract(epoch FROM clock_timestamp())::float8, response = $2, status = $3
WHERE number = $1 AND answered_at IS NULL;

-- name: answers
SELECT number, response, status FROM posts WHERE number = ANY ($1::bigint[]) AND answered_at IS NOT NULL;

-- name: clear
DELETE FROM posts WHERE number IN (
  SELECT number FROM posts WHERE answered_at < $1 ORDER BY answered_at LIMIT $2
)
RETURNING 1;
