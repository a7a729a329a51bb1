"""Load balancers learn whether a process takes work: not while it owns nothing for certain, and again by itself."""

import json
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.api import HttpServer
from orchestrator.api.server import OPERATOR_SERVICE, SAGA_SERVICE
from tests.integration.api.rig import Listen
from tests.integration.api.test_http import fetch
from tests.integration.cluster.rig import town

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def test_health_follows_the_obstacle_there_and_back_and_the_drain_for_good() -> None:
    async with town(1) as here:
        (node,) = here.nodes
        health: Any = health_pb2_grpc.HealthStub(node.channel)
        requests = [health_pb2.HealthCheckRequest(service=name) for name in ("", SAGA_SERVICE, OPERATOR_SERVICE)]
        watches = [aiter(health.Watch(request)) for request in requests]

        async def said() -> set[int]:
            return {(await anext(watch)).status for watch in watches}

        assert await said() == {SERVING}
        node.deeds.obstacle = "the store is away"
        assert await said() == {NOT_SERVING}
        assert (await health.Check(requests[0])).status == NOT_SERVING
        node.deeds.obstacle = None
        assert await said() == {SERVING}
        node.deeds.obstacle = "the store is away"
        assert await said() == {NOT_SERVING}
        node.api.refuse_new()
        node.deeds.obstacle = None
        node.api._health.show(is_serving=True)
        assert (await health.Check(requests[0])).status == NOT_SERVING


async def test_readiness_names_the_obstacle() -> None:
    async with town(1) as here:
        (node,) = here.nodes
        http = HttpServer(node.orchestrator, lambda _accept: ("text/plain", b""), Listen())
        port = await http.start()
        for obstacle in ("the store is away", None):
            node.deeds.obstacle = obstacle
            status, _, body = await fetch(port, "/readyz")
            assert status == (503 if obstacle else 200)
            assert json.loads(body)["obstacles"] == ([obstacle] if obstacle else [])
        await http.stop()
