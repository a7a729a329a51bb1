"""Definitions: what a text may say, and what is kept of compiled ones."""

# A page of YAML is 4 KiB; a megabyte is a mistake or an attack, and is refused before it is parsed.
DEFINITION_BYTES_MAX = 1024 * 1024
# Real definitions nest five or six deep; the parser below us recurses, so the bound protects its stack.
DEFINITION_DEPTH_MAX = 32
# 1,000 steps of about ten nodes each, twice over.
DEFINITION_NODES_MAX = 20_000
# A saga of more steps is a program; also bounds the machine's work per event.
STEPS_MAX = 1_000
# CEL source is trusted-author input, but its memory use grows with its size and is not bounded by its library.
EXPRESSION_BYTES_MAX = 4 * 1024
# As much as a person reads; further findings of one check are counted, not listed.
DIAGNOSTICS_MAX = 100
# Serialised descriptors of one target; a large company's whole API surface is a few megabytes.
DESCRIPTORS_BYTES_MAX = 16 * 1024 * 1024
# Recorded payloads that one revision keeps parsed, by their wire size; thousands of sagas' replies of ordinary size.
PARSED_PAYLOADS_BYTES_MAX = 8 * 1024 * 1024
# Smaller payloads are parsed anew each time: that takes no longer than to find them again.
SHARED_BYTES_MIN = 128
# The expression engine copies what it is given, ten nanoseconds a byte: of larger messages it gets the fields it reads.
WHOLE_BYTES_MAX = 4 * 1024
# Values of messages that are looked through for texts that are not UTF-8, before an expression gives a map: a tenth of
# a second at most, and only where a type lets such texts through.
LOOSE_VALUES_MAX = 50_000
# Compiled plans kept, the least recently asked for put aside first; a catalogue in real use has dozens.
PLANS_MAX = 1_000
# What one process of a cluster activates is what sagas start with at every other one within this: sooner than a person
# has turned to the next thing, and one look a second costs the store nothing.
CATALOGUE_FRESH_S = 1.0
# JSON values nested in an input: each level of a Struct is three messages on the wire, and readers stop at 100.
JSON_DEPTH_MAX = 32
# JSON values in one input, each of them at least two bytes of the largest payload's text.
JSON_NODES_MAX = 500_000
