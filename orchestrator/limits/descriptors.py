"""Descriptors: what is asked of reflection and of protoc."""

# The whole conversation with a reflection service; hundreds of files arrive within a second.
REFLECTION_S_MAX = 10.0
# Conversations in one version of reflection where grpc.aio hid how the last one ended; then the other version is tried.
REFLECTION_ATTEMPTS_MAX = 3
# All of googleapis is about 4,000 files; one target that serves more is a mistake or an attack.
DESCRIPTORS_FILES_MAX = 4_000
# Compiling some hundred .proto files takes a second.
PROTOC_S_MAX = 30.0
