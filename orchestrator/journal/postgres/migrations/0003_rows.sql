-- What an append gives of each saga and of each record, as one value: the driver asks of each element of an array what
-- kind of thing it is, which cost more than the rest of its work while each column was an array.
CREATE TYPE saga_row AS (
  saga_id text, uid uuid, request_id text, parent text, shard integer, definition text, revision text, status text,
  version integer, built_on integer, epoch bigint, attributes text, started_at double precision,
  updated_at double precision, ended_at double precision, wake_at double precision, rest text, attention text,
  failure text
);
CREATE TYPE record_row AS (
  uid uuid, version integer, at double precision, type text, checksum bigint, body bytea
);
