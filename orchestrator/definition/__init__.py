"""The language: what an author writes, checked as a whole and compiled to the plan the machine runs."""

from orchestrator.definition.revisions import Revisions

__all__ = ["Revisions"]
