-- How PostgreSQL itself keeps the tables. Each statement stands alone and may be refused: other databases that speak its
-- language keep their tables in other ways, and nothing rests on this but speed.

-- A row is updated with every append of its saga: a third of each page is kept free, so that the update stays on its page.
-- name: sagas
ALTER TABLE sagas SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- name: records
ALTER TABLE records SET (autovacuum_vacuum_insert_scale_factor = 0.1);

-- A few rows that are updated every second: room for that on their pages, and no need to clear them each time.
-- name: members
ALTER TABLE members SET (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);

-- name: shards
ALTER TABLE shards SET (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
