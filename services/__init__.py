"""The demo mesh: five small gRPC services that take in patient questionnaires for a clinical study, and five examples.

They are programs of their own. They import nothing of the orchestrator and know nothing of sagas but the six lines of
metadata that any careful caller may send; any gRPC client can call them.

    validator   may this report enter the study?      keeps nothing     Validate
    scoring     what does the PHQ-9 say?              keeps nothing     Score
    archive     the record of every report            keeps records     Store             undone by Withdraw
    safety      adverse events                        keeps events      OpenAdverseEvent  undone by VoidAdverseEvent
    notifier    tells the study nurse                 keeps alerts      SendAlert         undone by RecallAlert

Beside them stand the services of the worked examples, one package each: `shop`, `travel`, `bank`, `expenses`,
`importer`. Their `__init__.py` say what they keep; they are made of the same parts.

How a call travels through one process:

    gRPC --> tracing --> faults --> the service --> participant --> store --> reply
             a span      knobs,     its own         key,           one group commit:
             (if on)     all off    reasons         barrier        database, then ledger

Invariants, each with a test:

* A reply of a stateful service is sent after its effect and its ledger line are on disk.
* One idempotency key has one effect and one reply, whatever is repeated, in any order, across a crash.
* After a saga's step was compensated, that step can never act again, even if its call arrives only now.
* The ledger says what the database did: after a crash the next start brings the two together.
* Without a fault set, no code of `faults.py` changes the outcome of a call.

What may be imported here: the standard library, grpcio with its health, reflection and status packages, protobuf,
googleapis-common-protos, and the OpenTelemetry SDK in `tracing.py` alone.

Read next: `archive.py` (a service, whole), `shop/payments.py` (one with rows and reasons of its own),
`participant.py` (what makes them safe to repeat), `store.py` (group commit),
`ledger.py` (the published file format), `phq9.py` (the instrument), `faults.py`, `server.py`, `generate_reports.py`.
"""
