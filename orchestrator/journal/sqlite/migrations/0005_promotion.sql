-- Which store has the sagas now, once they were moved: nobody runs sagas on this file any more.
CREATE TABLE promotion (
  id         INTEGER PRIMARY KEY CHECK (id = 1),
  successor  TEXT NOT NULL
) STRICT;
