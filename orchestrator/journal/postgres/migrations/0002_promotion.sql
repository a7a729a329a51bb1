-- Whether another store is being taken in, and how far that is: one row, always there. Whoever joins holds it shared, so
-- that a promotion that begins waits for those on their way, and sees them.
CREATE TABLE promotion (
  id            integer          PRIMARY KEY CHECK (id = 1),
  is_under_way  boolean          NOT NULL,
  origin        text COLLATE "C" NOT NULL, -- a digest of what is, or was, taken in; empty: nothing ever was
  whole_until   text COLLATE "C" NOT NULL  -- the last saga that is here whole
);
INSERT INTO promotion (id, is_under_way, origin, whole_until) VALUES (1, false, '', '');
