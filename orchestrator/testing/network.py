r"""Between a simulated process and the services: every way in which a call can go, and its reset.

::

    begin -----> refused                                             NOT_SENT
          \----> lost on the way                                     SENT, nothing happened
           \---> arrives --> service --> answer ---> comes back      REPLIED
                       \---> again (twice)     \---> is lost         SENT, it happened
           late, or slow, or at a service that restarts              SENT, it may happen yet

What is on the way belongs to nobody: a call that has left a process arrives although the process dies.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextvars import Context

from orchestrator.limits import CLOCK_SKEW_S
from orchestrator.ports.clock import Clock
from orchestrator.ports.invoker import CallRequest, OnReport
from orchestrator.saga.events import Phase, Report
from orchestrator.testing.fates import Faults, Kind
from orchestrator.testing.loop import Life
from orchestrator.testing.services import Services

_ROUND_TRIP_S = 0.02
_SLOW_S = 8.0
_DOWN_S = 3.0


class Network:
    """All that is on the way, and which services are down."""

    def __init__(self, services: Services, faults: Faults, outside: Context) -> None:
        """`outside` is the context of what no process's death ends."""
        self.services = services
        self.faults = faults
        self.outside = outside
        self.open: dict[SimulatedCall, None] = {}
        self._back_at: dict[str, float] = {}
        """Target -> when it is up again."""
        self.sent = 0
        self.on_begun: Callable[[Life, CallRequest], None] = lambda _life, _call: None
        """Hears of every call that a life begins."""

    def carry(self, call: "SimulatedCall") -> None:
        """Take a call on its way."""
        self.sent += 1
        self.open[call] = None
        loop, request, site = asyncio.get_running_loop(), call.request, call.site
        draw, strike = self.faults.fates.draw, self.faults.strike
        way_s = _ROUND_TRIP_S * draw(f"way/{site}") ** 2
        if not call.left_s():
            self._tell(call, Report(code="DEADLINE_EXCEEDED", phase=Phase.NOT_SENT, message="it had passed"), 0.0)
            return
        if self._back_at.get(request.target, 0.0) > loop.time() or strike(Kind.REFUSED, site):
            self._tell(call, Report(code="UNAVAILABLE", phase=Phase.NOT_SENT, message="connection refused"), way_s)
            return
        if strike(Kind.REQUEST_LOST, site):
            self._tell(call, _broken(), way_s)
            return
        if strike(Kind.OVERTAKEN, site):
            self._tell(call, _broken(), way_s)
            way_s = (call.left_s() + CLOCK_SKEW_S) * draw(f"overtaken/{site}")
        elif strike(Kind.LATE, site):
            way_s = call.left_s() + CLOCK_SKEW_S * draw(f"late/{site}")
        elif strike(Kind.SLOW, site):
            way_s = min(way_s + _SLOW_S * draw(f"slow/{site}"), call.left_s() + CLOCK_SKEW_S)
        loop.call_later(way_s, self._arrive, call, context=self.outside)

    def _arrive(self, call: "SimulatedCall") -> None:
        draw, strike, site = self.faults.fates.draw, self.faults.strike, call.site
        if self._back_at.get(call.request.target, 0.0) > asyncio.get_running_loop().time():
            self._tell(call, _broken(), 0.0)
            return  # nobody is there
        if call.was_reset and self.faults.fates.coin(f"heard/{site}"):
            return  # the reset came before the work began
        if call.was_cut:
            return  # it was under way to a service that has restarted
        if strike(Kind.RESTART, site):
            self._restart(call.request.target, site)
            if self.faults.fates.coin(f"restart/{site}/before"):
                return
        said = self.services.answer(call.request, site)
        if said.code == "OK" and self.services.bears_repeating(call.request) and strike(Kind.TWICE, site):
            again_s = _SLOW_S * draw(f"twice/{site}") ** 4
            loop = asyncio.get_running_loop()
            loop.call_later(again_s, self.services.answer, call.request, f"{site}/again", context=self.outside)
        failed = said.code == "OK" and strike(Kind.SAYS_INTERNAL, f"{site}/after")
        if failed:
            said = Report(code="INTERNAL", phase=Phase.REPLIED, message="it failed after all")
        back_s = _ROUND_TRIP_S * draw(f"back/{site}") ** 2
        self._tell(call, _broken() if strike(Kind.REPLY_LOST, site) else said, back_s)

    def _restart(self, target: str, site: str) -> None:
        """Break every call that is open at a target; nobody answers there for a while."""
        self._back_at[target] = asyncio.get_running_loop().time() + _DOWN_S * self.faults.fates.draw(f"down/{site}")
        for call in [each for each in self.open if each.request.target == target]:
            call.was_cut = True
            self._tell(call, _broken(), 0.0)

    def _tell(self, call: "SimulatedCall", said: Report, after_s: float) -> None:
        """Bring an answer back, into the context of the process; a dead one hears nothing."""
        asyncio.get_running_loop().call_later(after_s, call.settle, said, context=call.life.context)


class SimulatedCall:
    """`OpenCall`: a call on its way."""

    __slots__ = ("_deadline", "_on_report", "_owner", "life", "request", "site", "was_cut", "was_reset")

    def __init__(self, owner: "SimulatedInvoker", life: Life, request: CallRequest, on_report: OnReport) -> None:
        """Begin with its deadline armed, where the process is alive."""
        self._owner = owner
        self._on_report = on_report
        self._deadline: asyncio.TimerHandle | None = None
        self.life = life
        self.request = request
        self.site = f"{request.saga_id}/{request.step}/{request.operation.value}/{request.attempt}"
        self.was_reset = False
        self.was_cut = False

    def left_s(self) -> float:
        """Return how long it may still take."""
        return max(self.request.deadline_at - self._owner.clock.now(), 0.0)

    def arm(self) -> None:
        """End it at its deadline: a library's own timer, in the process."""
        over = Report(code="DEADLINE_EXCEEDED", phase=Phase.SENT, message="deadline exceeded")
        self._deadline = asyncio.get_running_loop().call_later(self.left_s(), self.settle, over)

    def abort(self) -> None:
        """Reset the stream; the service may hear of it in time."""
        if self in self._owner.open and not self.was_reset and not self.life.is_over:
            self.was_reset = True
            asyncio.get_running_loop().call_soon(self.settle, Report(code="CANCELLED", phase=Phase.SENT))

    def settle(self, said: Report) -> None:
        """Report, once."""
        if self not in self._owner.open:
            return
        del self._owner.open[self]
        self._owner.network.open.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
        if not self.life.is_over:
            self._on_report(said)


class SimulatedInvoker:
    """`Invoker` of one life."""

    def __init__(self, network: Network, life: Life, clock: Clock) -> None:
        """Begin with nothing open."""
        self.network = network
        self.clock = clock
        self.open: dict[SimulatedCall, None] = {}
        self._life = life
        self._sends = 0
        faults = network.faults
        self._dies = {
            kind: faults.pass_of(kind, life.name, mean=30) for kind in (Kind.KILL_BEFORE_SEND, Kind.KILL_AFTER_SEND)
        }

    @property
    def sends(self) -> int:
        """Return how many calls this life has sent."""
        return self._sends

    def begin(self, call: CallRequest, on_report: OnReport) -> SimulatedCall:
        opened = SimulatedCall(self, self._life, call, on_report)
        if self._life.is_over:
            return opened
        self._sends += 1
        self.network.on_begun(self._life, call)
        if self._dies_at(Kind.KILL_BEFORE_SEND):
            return opened
        self.open[opened] = None
        if opened.left_s():
            opened.arm()
        self.network.carry(opened)
        self._dies_at(Kind.KILL_AFTER_SEND)
        return opened

    def _dies_at(self, kind: Kind) -> bool:
        if self._dies[kind] != self._sends or self.network.faults.is_over:
            return False
        self.network.faults.note(kind, self._life.name, self._sends)
        self._life.kill()
        return True

    def in_flight(self) -> Mapping[str, int]:
        return Counter(call.request.target for call in self.open)

    async def close(self, grace_s: float) -> None:
        """Abort what is open; a life that drains has waited before."""
        for call in list(self.open):
            call.abort()
        await asyncio.sleep(0)  # one turn: the reports come then


def _broken() -> Report:
    return Report(code="UNAVAILABLE", phase=Phase.SENT, message="the connection broke")
