-- Whether a saga needs an actor: a restart reads those that do, however many sleep. Rows of before are taken up once.
ALTER TABLE sagas ADD COLUMN rest TEXT NOT NULL DEFAULT 'awake';

DROP INDEX sagas_unfinished;
CREATE INDEX sagas_awake ON sagas (saga_id)
WHERE rest <> 'asleep' AND status NOT IN ('COMPLETED', 'COMPENSATED', 'TERMINATED');
