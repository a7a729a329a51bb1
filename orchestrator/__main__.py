"""`python -m orchestrator` is the `saga` program."""

from orchestrator.cli.main import main

main()
