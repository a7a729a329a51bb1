"""The configured targets and what they serve; and whether a reply is what it should be."""

from collections.abc import Mapping, Sequence

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from orchestrator.errors import TargetUnreachable
from orchestrator.invoker.channels import Channels
from orchestrator.invoker.descriptors import check_compiler, load, pool_of
from orchestrator.ports.methods import TargetFacts


class GrpcMethods:
    """`ports.methods.Methods` over the channels that calls use; part of a `GrpcInvoker`, closed with it."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._facts: Mapping[str, TargetFacts] = {}
        self._replies: dict[str, _Replies] = {}
        """What is known of a target's message types: those of its latest descriptors."""
        self._learning: set[str] = set()
        for target in channels.targets():
            check_compiler(target)
        self._facts = {
            target.name: TargetFacts(name=target.name, every=target.every, methods=target.methods)
            for target in channels.targets()
        }

    def targets(self) -> Sequence[str]:
        return tuple(self._facts)

    def facts(self, target: str) -> TargetFacts | None:
        return self._facts.get(target)

    async def descriptors(self, target: str) -> bytes:
        """Return them as they are now: a service may have been renewed since the last time."""
        channel = self._channels.get(target)
        if channel is None:
            known = ", ".join(self._facts) or "none"
            raise TargetUnreachable(f"target {target!r} is not configured; configured are: {known}", target=target)
        data = await load(channel.raw, channel.target)
        self._replies[target] = _Replies(pool_of(data))
        return data

    def decodes(self, target: str, type_name: str, data: bytes) -> bool:
        """Return whether bytes parse as a type of the target; True where the type is not known here."""
        replies = self._replies.get(target)
        message_class = None if replies is None else replies[type_name]
        if message_class is None:
            return True
        try:
            message_class.FromString(data)
        except DecodeError:
            return False
        return True

    def learn(self, target: str) -> None:
        """Fetch descriptors once in the background, so that replies are checked also after a restart."""
        if target not in self._replies and target not in self._learning:
            self._learning.add(target)
            self._channels.tasks.spawn(self._learn(target), name=f"learn {target}")

    async def _learn(self, target: str) -> None:
        try:
            await self.descriptors(target)
        except TargetUnreachable:
            return  # then replies go unchecked to the expressions that read them, which report what they cannot read


class _Replies(dict[str, type[Message] | None]):
    """Message classes of one pool, by type name, each found when it is asked for; None where there is no such type."""

    def __init__(self, pool: DescriptorPool) -> None:
        super().__init__()
        self._pool = pool

    def __missing__(self, type_name: str) -> type[Message] | None:
        try:
            found = GetMessageClass(self._pool.FindMessageTypeByName(type_name))
        except KeyError:
            found = None
        self[type_name] = found
        return found
