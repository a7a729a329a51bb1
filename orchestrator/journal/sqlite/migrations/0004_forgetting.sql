-- A child saga is forgotten after its parent. NULL is not known yet: a row of before, looked up when it is its turn.
ALTER TABLE sagas ADD COLUMN parent TEXT;

-- What ended, by when: forgetting looks at the earliest of a definition and at nothing else.
CREATE INDEX sagas_ended ON sagas (definition, ended_at, saga_id)
WHERE status IN ('COMPLETED', 'COMPENSATED', 'TERMINATED');
