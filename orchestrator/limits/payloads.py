"""Payloads: inputs, requests, replies, and what a saga may be searched by."""

# gRPC's own default for a received message; input, requests and replies all obey it.
PAYLOAD_BYTES_MAX = 4 * 1024 * 1024
# Searchable attributes are for finding a saga, not for carrying data.
ATTRIBUTES_MAX = 32
# One attribute's text.
ATTRIBUTE_CHARS_MAX = 512
# One attribute's name: a few words, as a column would have.
ATTRIBUTE_NAME_CHARS_MAX = 64
