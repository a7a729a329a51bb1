"""Mistakes with sagas that are steps of others."""

from tests.defects.planting import Defect

_ENDED_IS_DONE = """        self._wait_for(opened, found)
        if (await self._directory.state(found)).is_terminal:
            opened.end(self._report(opened, "OK", Phase.REPLIED, "", reply=_NO_REPLY))
            return
        reason = f"undone"""

IN_CHILDREN = (
    Defect(
        name="child-begun-twice",
        breaks="I9, I28",
        module="runtime.children",
        says="a child is started under a request id of its own, by which nobody finds it again",
        old="            request_id=call.key,\n",
        new="            request_id=str(self._clock.new_uid()),\n",
    ),
    Defect(
        name="child-forgotten-on-cancel",
        breaks="I26, I28",
        module="runtime.children",
        says="a parent that is cancelled lets its child run on",
        old="            if self.child is not None:\n                self._children.cancel(self)\n",
        new="",
    ),
    Defect(
        name="parent-ends-before-its-child",
        breaks="I28, R21",
        module="runtime.children",
        says="a cancelled child is reported before it has come to its end",
        old="""            await self._cancel(found, f"cancelled by its parent saga {opened.call.saga_id}")
""",
        new="""            await self._cancel(found, f"cancelled by its parent saga {opened.call.saga_id}")
            opened.end(self._report(opened, "CANCELLED", Phase.REPLIED, "cancelled", applied=False))
""",
    ),
    Defect(
        name="completed-child-left",
        breaks="I28, R21",
        module="runtime.children",
        says="the undo of a child that has completed is answered, and not done",
        old='        self._wait_for(opened, found)\n        reason = f"undone',
        new=_ENDED_IS_DONE,
    ),
    Defect(
        name="ended-child-not-undone",
        breaks="I28, R21",
        module="saga.decide",
        says="a completed child refuses to be undone, as an ended saga refuses everything",
        old="    if state.status is not SagaStatus.COMPLETED or state.parent is None:\n        return None\n",
        new="    if state.is_terminal:\n        return None\n",
    ),
)
