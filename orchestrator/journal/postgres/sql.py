"""The statements of `queries.sql`, by name."""

from orchestrator.journal.sqlfile import load

SQL = load("orchestrator.journal.postgres", "queries.sql")
