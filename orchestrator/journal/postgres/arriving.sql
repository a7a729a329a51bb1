-- How the sagas of another store are taken in.

-- name: state
SELECT is_under_way, origin, whole_until FROM promotion WHERE id = 1 FOR UPDATE;

-- name: is_under_way
SELECT is_under_way FROM promotion WHERE id = 1;

-- name: open
UPDATE promotion SET is_under_way = true, origin = $1 WHERE id = 1;

-- name: any_saga
SELECT saga_id FROM sagas LIMIT 1;

-- name: drop_dead_members
DELETE FROM members WHERE expires_at <= extract(epoch FROM clock_timestamp())::float8;

-- name: living_members
SELECT name, ceil(expires_at - extract(epoch FROM clock_timestamp())::float8)::int FROM members ORDER BY name;

-- name: raise_epochs
UPDATE shards SET epoch = $1 WHERE epoch < $1;

-- name: raise_positions
SELECT setval('positions', $1::bigint) FROM positions WHERE last_value < $1::bigint;

-- name: take_sagas
INSERT INTO sagas (saga_id, uid, request_id, parent, shard, definition, revision, status, version, built_on, epoch,
                   attributes, started_at, updated_at, ended_at, wake_at, rest, attention, failure)
SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::int[], $6::text[], $7::text[], $8::text[],
                     $9::int[], $10::int[], $11::bigint[], $12::text[], $13::float8[], $14::float8[], $15::float8[],
                     $16::float8[], $17::text[], $18::text[], $19::text[])
ON CONFLICT (saga_id) DO NOTHING;

-- name: take_terms
INSERT INTO terms (term, saga_id) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING;

-- name: take_records
INSERT INTO records (uid, version, position, shard, epoch, at, type, checksum, body)
SELECT s.uid, r.version, r.position, s.shard, r.epoch, r.at, r.type, r.checksum, r.body
FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::float8[], $6::text[], $7::bigint[], $8::bytea[])
  AS r (saga_id, version, position, epoch, at, type, checksum, body)
JOIN sagas s ON s.saga_id = r.saga_id
ON CONFLICT (uid, version) DO NOTHING;

-- name: mark
UPDATE promotion SET whole_until = $1 WHERE id = 1 AND is_under_way;

-- name: finish
UPDATE promotion SET is_under_way = false WHERE id = 1;

-- name: entries
SELECT s.saga_id, r.version, r.position, r.epoch, r.at, r.type, r.checksum, r.body
FROM (SELECT saga_id, uid FROM sagas WHERE saga_id >= $1 AND saga_id <= $3 ORDER BY saga_id) s
CROSS JOIN LATERAL (
  SELECT * FROM records r
  WHERE r.uid = s.uid AND r.version > CASE WHEN s.saga_id = $1 THEN $2::int ELSE 0 END
  ORDER BY r.version LIMIT $4
) r
ORDER BY s.saga_id, r.version LIMIT $4;
