-- The journal, its search rows, and the catalogue. Instants are Unix seconds.

-- One row per saga: what List shows and filters by, and the version and epoch that the next append must name.
CREATE TABLE sagas (
  id          INTEGER PRIMARY KEY,
  saga_id     TEXT    NOT NULL UNIQUE,
  uid         TEXT    NOT NULL,
  request_id  TEXT    NOT NULL,
  definition  TEXT    NOT NULL,
  revision    TEXT    NOT NULL,
  status      TEXT    NOT NULL,
  version     INTEGER NOT NULL,
  epoch       INTEGER NOT NULL,
  attributes  TEXT    NOT NULL, -- a JSON object
  started_at  REAL    NOT NULL,
  updated_at  REAL    NOT NULL,
  ended_at    REAL,
  wake_at     REAL,
  attention   TEXT    NOT NULL,
  failure     TEXT    NOT NULL
) STRICT;

CREATE UNIQUE INDEX sagas_by_request ON sagas (request_id) WHERE request_id <> '';
CREATE INDEX sagas_by_start ON sagas (started_at, saga_id);
CREATE INDEX sagas_by_definition ON sagas (definition, started_at, saga_id);
CREATE INDEX sagas_by_status ON sagas (status, started_at, saga_id);
CREATE INDEX sagas_by_update ON sagas (updated_at, saga_id);
CREATE INDEX sagas_due ON sagas (wake_at, saga_id) WHERE wake_at IS NOT NULL;
CREATE INDEX sagas_unfinished ON sagas (saga_id) WHERE status NOT IN ('COMPLETED', 'COMPENSATED');

-- One row per attribute, so that finding one saga among millions by a business key is an index lookup. It follows
-- sagas.attributes by itself, once: they are given when a saga starts and never change.
CREATE TABLE attributes (
  name   TEXT    NOT NULL,
  value  ANY     NOT NULL,
  saga   INTEGER NOT NULL REFERENCES sagas (id) ON DELETE CASCADE,
  PRIMARY KEY (name, value, saga)
) STRICT, WITHOUT ROWID;
CREATE INDEX attributes_by_saga ON attributes (saga);

CREATE TRIGGER attributes_first AFTER INSERT ON sagas WHEN new.attributes <> '{}'
BEGIN
  INSERT INTO attributes (name, value, saga)
  SELECT key, value, new.id FROM json_each(new.attributes) WHERE value IS NOT NULL;
END;

-- The streams. `position` orders the records of all sagas by commit and is never used twice.
CREATE TABLE records (
  position  INTEGER PRIMARY KEY AUTOINCREMENT,
  saga      INTEGER NOT NULL REFERENCES sagas (id),
  version   INTEGER NOT NULL,
  epoch     INTEGER NOT NULL,
  at        REAL    NOT NULL,
  type      TEXT    NOT NULL,
  checksum  INTEGER NOT NULL, -- CRC-32 of type and body
  body      BLOB    NOT NULL,
  UNIQUE (saga, version)
) STRICT;

CREATE TABLE revisions (
  definition   TEXT NOT NULL,
  revision     TEXT NOT NULL,
  source       TEXT NOT NULL,
  descriptors  BLOB NOT NULL,
  created_at   REAL NOT NULL,
  PRIMARY KEY (definition, revision)
) STRICT;

CREATE TABLE active_revisions (
  definition  TEXT PRIMARY KEY,
  revision    TEXT NOT NULL,
  FOREIGN KEY (definition, revision) REFERENCES revisions (definition, revision)
) STRICT;

-- How far each reader of the whole store has come.
CREATE TABLE cursors (
  name      TEXT    PRIMARY KEY,
  position  INTEGER NOT NULL
) STRICT;

-- The epoch of the last opening.
CREATE TABLE boot (
  id     INTEGER PRIMARY KEY CHECK (id = 1),
  epoch  INTEGER NOT NULL
) STRICT;
INSERT INTO boot (id, epoch) VALUES (1, 0);
