-- Most appends of a saga that is under way change nothing that it is found by. So that they touch no index at all, the
-- index of the last update holds only what rests: sagas that are over, which change no more, and those that sleep. The
-- others are few, and `sagas_awake` has them; rows of before `rest` may say of what is over that it is awake.
UPDATE sagas SET rest = 'asleep' WHERE rest <> 'asleep' AND status IN ('COMPLETED', 'COMPENSATED', 'TERMINATED');

DROP INDEX sagas_awake;
CREATE INDEX sagas_awake ON sagas (saga_id) WHERE rest <> 'asleep';

DROP INDEX sagas_by_update;
CREATE INDEX sagas_by_update ON sagas (updated_at, saga_id) WHERE rest = 'asleep';

-- As before, but for a condition that costs nothing: each IN builds its list anew whenever a row is written.
DROP INDEX sagas_ended;
CREATE INDEX sagas_ended ON sagas (definition, ended_at, saga_id) WHERE ended_at IS NOT NULL;
