"""An actor-model saga orchestrator for cross-service flows.

Services expose ordinary gRPC methods; a team writes a saga once, in YAML or typed Python; this package checks it
against the services' own protobuf types and drives it. Each running saga is an actor with a mailbox. It records what
it is about to do before it does it, calls the services, runs independent steps at the same time, stops what is in
flight when one of them fails, and undoes what was done. It never guesses: an outcome nobody knows is called UNKNOWN
and treated as such until it is settled.

The package is a set of rings; an outer ring may import an inner one, never the other way round::

    cli
      bootstrap            the only module that introduces adapters to each other
        config
          api  proving                                   surfaces; trials of other services
            runtime definition journal invoker telemetry verify explore   siblings that have never met
              ports                                      what the engine needs of the world
                saga                                     the machine: pure, no clock, no luck, no I/O
                  errors
                    limits  values  ids

`orchestrator.participant` is a kit for called services. It stands alone: take it without the rest.

Read next: `orchestrator.saga` (the machine), then `orchestrator.runtime` (the actors), then one scenario in
`tests/scenarios/`. The words are in `docs/glossary.md`.
"""

__version__ = "0.1.0"
