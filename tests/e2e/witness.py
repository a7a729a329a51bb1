"""A fourth witness, inside the database: who owned a shard, and which process really wrote to it.

Triggers note it in the transactions that they watch, so that nothing is noted that was not done, and nothing done that
is not noted. A process is known by what its connections say of themselves, which is none of the product's words.
"""

from dataclasses import dataclass
from typing import Any

from tests.kit.postgres import Server

SETTING = "witness.node"
"""What a connection says of itself; PostgreSQL takes any name with a dot."""

_INSTALL = f"""
CREATE SCHEMA witness;
CREATE TABLE witness.wrote (shard int, epoch bigint, node text, PRIMARY KEY (shard, epoch, node));
CREATE TABLE witness.late (shard int, epoch bigint, node text, owned_under bigint);
CREATE TABLE witness.owned (shard int, epoch bigint, owner text, at float8);
CREATE TABLE witness.joined (member text, node text);
CREATE INDEX ON witness.owned (shard, epoch);
CREATE FUNCTION witness.note_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO witness.wrote SELECT DISTINCT shard, epoch, coalesce(current_setting('{SETTING}', true), '') FROM fresh
  ON CONFLICT DO NOTHING;
  INSERT INTO witness.late
  SELECT DISTINCT f.shard, f.epoch, coalesce(current_setting('{SETTING}', true), ''), h.epoch
  FROM fresh f JOIN shards h ON h.shard = f.shard WHERE h.epoch <> f.epoch;
  RETURN NULL;
END $$;
CREATE FUNCTION witness.note_owner() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO witness.owned SELECT shard, epoch, owner, extract(epoch FROM clock_timestamp()) FROM fresh;
  RETURN NULL;
END $$;
CREATE FUNCTION witness.note_member() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO witness.joined SELECT member, coalesce(current_setting('{SETTING}', true), '') FROM fresh;
  RETURN NULL;
END $$;
LOCK TABLE records, shards, members IN SHARE ROW EXCLUSIVE MODE;
CREATE TRIGGER witness AFTER INSERT ON records REFERENCING NEW TABLE AS fresh
  FOR EACH STATEMENT EXECUTE FUNCTION witness.note_write();
CREATE TRIGGER witness AFTER UPDATE ON shards REFERENCING NEW TABLE AS fresh
  FOR EACH STATEMENT EXECUTE FUNCTION witness.note_owner();
CREATE TRIGGER witness AFTER INSERT ON members REFERENCING NEW TABLE AS fresh
  FOR EACH STATEMENT EXECUTE FUNCTION witness.note_member();
INSERT INTO witness.owned SELECT shard, epoch, owner, extract(epoch FROM clock_timestamp()) FROM shards;
INSERT INTO witness.joined SELECT member, name FROM members;
"""
_TWO_WRITERS = """
SELECT shard, epoch, array_agg(node ORDER BY node) FROM witness.wrote GROUP BY shard, epoch HAVING count(*) > 1
"""
_LATE = "SELECT DISTINCT shard, epoch, node, owned_under FROM witness.late"
_TWO_OWNERS = """
SELECT shard, epoch, array_agg(DISTINCT owner) FROM witness.owned GROUP BY shard, epoch HAVING count(DISTINCT owner) > 1
"""
_STRANGERS = """
SELECT w.shard, w.epoch, w.node FROM witness.wrote w
WHERE NOT EXISTS (
  SELECT 1 FROM witness.owned o JOIN witness.joined j ON j.member = o.owner
  WHERE o.shard = w.shard AND o.epoch = w.epoch AND j.node = w.node
)
"""
_FALLING = """
SELECT shard, position, epoch, before FROM (
  SELECT shard, position, epoch, max(epoch) OVER (
    PARTITION BY shard ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
  ) AS before FROM records
) r WHERE epoch < before
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Testimony:
    """What it has seen."""

    owners: int
    """Pairs of a shard and an epoch."""
    written: int
    """Those under which something was written."""
    moves: int
    """Changes of owner, after the first one of each shard."""
    violations: list[str]
    """Two owners of one epoch, two writers, writers that were not the owner, or not any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """In one database of a server; it asks over the server's own socket, whatever lines there are."""

    server: Server
    database: str

    def install(self) -> None:
        """Begin to watch a store that has been made."""
        self.server.run(_INSTALL, self.database)

    def now(self) -> float:
        """Return the database's clock, Unix seconds."""
        return float(self._ask("SELECT extract(epoch FROM clock_timestamp())::float8")[0][0])

    def owned_by(self, node: str) -> dict[int, int]:
        """Return the shards that a process owns now, and their epochs."""
        rows = self._ask(
            "SELECT s.shard, s.epoch FROM shards s JOIN witness.joined j ON j.member = s.owner "
            f"JOIN members m ON m.member = s.owner WHERE j.node = '{node}'"
        )
        return {int(shard): int(epoch) for shard, epoch in rows}

    def records_under(self, terms: dict[int, int]) -> int:
        """Return how many records were written to shards under these epochs."""
        pairs = ", ".join(f"({shard}, {epoch})" for shard, epoch in terms.items())
        return int(self._ask(f"SELECT count(*) FROM records WHERE (shard, epoch) IN ({pairs})")[0][0]) if terms else 0

    def passed_on_at(self, terms: dict[int, int]) -> float:
        """Return when the last of these shards had another owner, by the database's clock; infinity where one has not.

        An owner is a member; a shard that nobody has does not count.
        """
        rows = self._ask(
            "SELECT o.shard, o.epoch, o.at FROM witness.owned o JOIN witness.joined j ON j.member = o.owner"
        )
        firsts = dict.fromkeys(terms, float("inf"))
        for shard, epoch, at in rows:
            if epoch > terms.get(shard, epoch):
                firsts[shard] = min(firsts[shard], float(at))
        return max(firsts.values(), default=float("inf"))

    def testimony(self) -> Testimony:
        """Tell everything."""
        found = (
            ("two wrote to shard %s under epoch %s: %s", _TWO_WRITERS),
            ("to shard %s was written under epoch %s by %s when it was owned under %s", _LATE),
            ("two owned shard %s under epoch %s: %s", _TWO_OWNERS),
            ("to shard %s was written under epoch %s by %s, which did not own it", _STRANGERS),
            ("in shard %s the record at %s is of epoch %s, after one of %s", _FALLING),
        )
        owners, written, moves = self._ask(
            "SELECT (SELECT count(DISTINCT (shard, epoch)) FROM witness.owned WHERE owner <> ''), "
            "(SELECT count(*) FROM witness.wrote), "
            "(SELECT count(*) FROM witness.owned WHERE owner <> '') - (SELECT count(*) FROM shards)"
        )[0]
        return Testimony(
            owners=int(owners),
            written=int(written),
            moves=int(moves),
            violations=[words % tuple(row) for words, sql in found for row in self._ask(sql)],
        )

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self.server.run(sql, self.database)
