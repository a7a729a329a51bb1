"""`Methods` where one `FileDescriptorSet` describes every target: definitions are tried without services."""

from collections.abc import Iterable, Mapping, Sequence

from orchestrator.definition.yaml import read
from orchestrator.frozen import frozen_tuple
from orchestrator.ports.methods import TargetFacts


@frozen_tuple
class OneSet:
    """What some targets serve; where they are is nobody's business here."""

    facts_of: Mapping[str, TargetFacts]
    data: bytes
    """The serialised set."""

    def targets(self) -> Sequence[str]:
        """Return the targets that definitions may name."""
        return tuple(self.facts_of)

    def facts(self, target: str) -> TargetFacts | None:
        """Return what is declared about a target: nothing, where nobody said."""
        return self.facts_of.get(target)

    async def descriptors(self, target: str) -> bytes:
        """Return the set."""
        return self.data


def one_set(data: bytes, texts: Iterable[tuple[str, str]], declared: Iterable[TargetFacts] = ()) -> OneSet:
    """Return one set for every target that the texts, each with its file's name, list, and those that are declared."""
    facts = {each.name: each for each in declared}
    for filename, text in texts:
        for target in _listed(text, filename):
            facts.setdefault(target, TargetFacts(name=target))
    return OneSet(facts, data)


def _listed(text: str, filename: str) -> Iterable[str]:
    """Return the targets that a text lists; what is wrong with it is told where it is compiled."""
    document, _ = read(text, filename)
    root = document.root if document else None
    listed = root.get("targets") if isinstance(root, dict) else None
    return [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []
