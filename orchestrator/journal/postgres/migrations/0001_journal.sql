-- The journal, its search rows, the catalogue, the cluster and its letter boxes. Instants are Unix seconds.
--
-- Everything lies in the connection's own schema. Nothing here needs a session, and nothing needs more than what
-- databases that speak PostgreSQL's protocol have: tables, B-trees, sequences. How full PostgreSQL keeps its pages, and how
-- often it clears them, is in `tuning.sql`, which a database may refuse.

-- One row per saga: what List shows and filters by, and the version and epoch that the next append must name.
-- A row is updated with every append of its saga. What changes each time is in no index and a third of each page is
-- kept free (tuning.sql), so that the update stays on its page and touches no index (four of five did, measured). A partial index
-- would not do: its columns count as indexed for every row. Hence the two columns that are null until they matter.
CREATE TABLE sagas (
  saga_id     text COLLATE "C" PRIMARY KEY,
  uid         uuid             NOT NULL UNIQUE,
  request_id  text COLLATE "C" NOT NULL,
  parent      text COLLATE "C" NOT NULL, -- the saga that this one is a child of, or nothing
  shard       integer          NOT NULL,
  definition  text COLLATE "C" NOT NULL,
  revision    text COLLATE "C" NOT NULL,
  status      text COLLATE "C" NOT NULL,
  version     integer          NOT NULL,
  built_on    integer          NOT NULL, -- the version that the last append named
  epoch       bigint           NOT NULL,
  attributes  text             NOT NULL, -- a JSON object
  started_at  double precision NOT NULL,
  updated_at  double precision NOT NULL,
  ended_at    double precision,
  wake_at     double precision,
  rest        text COLLATE "C" NOT NULL,
  attention   text             NOT NULL,
  failure     text             NOT NULL,
  over_at     double precision GENERATED ALWAYS AS (CASE WHEN ended_at IS NOT NULL THEN updated_at END) STORED,
  sleeps_to   double precision GENERATED ALWAYS AS (CASE WHEN rest = 'asleep' THEN wake_at END) STORED
);

CREATE UNIQUE INDEX sagas_by_request ON sagas (request_id) WHERE request_id <> '';
CREATE INDEX sagas_by_start ON sagas (started_at, saga_id);
CREATE INDEX sagas_by_definition ON sagas (definition, started_at, saga_id);
CREATE INDEX sagas_by_status ON sagas (status, started_at, saga_id);
-- By the last update, of sagas that are over; those that are not are few, and in the index below.
CREATE INDEX sagas_over ON sagas (over_at, saga_id) WHERE over_at IS NOT NULL;
CREATE INDEX sagas_under_way ON sagas (saga_id) WHERE ended_at IS NULL;
CREATE INDEX sagas_awake ON sagas (saga_id)
  WHERE rest <> 'asleep' AND status NOT IN ('COMPLETED', 'COMPENSATED', 'TERMINATED');
-- Of sagas that sleep, which may be millions; those that are awake are in the index above.
CREATE INDEX sagas_asleep ON sagas (sleeps_to, saga_id) WHERE sleeps_to IS NOT NULL;
CREATE INDEX sagas_to_forget ON sagas (definition, ended_at, saga_id)
  WHERE status IN ('COMPLETED', 'COMPENSATED', 'TERMINATED');

-- One row per attribute, so that finding one saga among millions by a business key is an index lookup. Attributes are
-- given when a saga starts and never change.
CREATE TABLE terms (
  term     text COLLATE "C" NOT NULL, -- the attribute's name and value, as search.py writes them
  saga_id  text COLLATE "C" NOT NULL,
  PRIMARY KEY (term, saga_id)
);
CREATE INDEX terms_by_saga ON terms (saga_id);

-- Orders the records of a shard by commit, as one process at a time writes a shard. No number is ever used twice.
CREATE SEQUENCE positions CACHE 1;

-- The streams. A record has no foreign key to its saga: the statement that writes it has just written the saga.
CREATE TABLE records (
  uid       uuid             NOT NULL, -- of its saga
  version   integer          NOT NULL,
  position  bigint           NOT NULL,
  shard     integer          NOT NULL,
  epoch     bigint           NOT NULL,
  at        double precision NOT NULL,
  type      text COLLATE "C" NOT NULL,
  checksum  bigint           NOT NULL, -- CRC-32 of type and body
  body      bytea            NOT NULL,
  PRIMARY KEY (uid, version)
);
CREATE INDEX records_by_position ON records (shard, position);
-- What people did, for the audit of all sagas: a few records among millions.
CREATE INDEX records_acted ON records (position) WHERE type = 'OperatorActed';

-- Who is there. The row is the fence: an append locks it against removal, and changes nothing once it is gone.
CREATE TABLE members (
  member      text COLLATE "C" PRIMARY KEY,
  name        text             NOT NULL,
  address     text             NOT NULL,
  is_leaving  boolean          NOT NULL,
  joined_at   double precision NOT NULL,
  expires_at  double precision NOT NULL
);

-- Who may write a shard's sagas, under which epoch. A free shard has an empty owner.
CREATE TABLE shards (
  shard  integer          PRIMARY KEY,
  owner  text COLLATE "C" NOT NULL,
  epoch  bigint           NOT NULL
);

-- Requests left for whoever owns a shard, and their answers.
CREATE SEQUENCE post_numbers CACHE 1;
CREATE TABLE posts (
  number       bigint           PRIMARY KEY,
  shard        integer          NOT NULL,
  method       text             NOT NULL,
  request      bytea            NOT NULL,
  metadata     text             NOT NULL, -- a JSON list of pairs
  posted_at    double precision NOT NULL,
  answered_at  double precision,
  response     bytea,
  status       bytea
);
CREATE INDEX posts_open ON posts (shard, number) WHERE answered_at IS NULL;
CREATE INDEX posts_answered ON posts (answered_at) WHERE answered_at IS NOT NULL;

CREATE TABLE revisions (
  definition   text COLLATE "C" NOT NULL,
  revision     text COLLATE "C" NOT NULL,
  source       text             NOT NULL,
  descriptors  bytea            NOT NULL,
  created_at   double precision NOT NULL,
  PRIMARY KEY (definition, revision)
);

CREATE TABLE active_revisions (
  definition  text COLLATE "C" PRIMARY KEY,
  revision    text COLLATE "C" NOT NULL,
  FOREIGN KEY (definition, revision) REFERENCES revisions (definition, revision)
);

-- How far each reader of the whole store has come.
CREATE TABLE cursors (
  name      text COLLATE "C" PRIMARY KEY,
  position  bigint           NOT NULL
);
