"""Metrics and health of a node, over HTTP on this machine: GET /metrics, GET /health."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pbxd.errors import HubError, StoreError

if TYPE_CHECKING:
    from pbxd.hub.node import Node

PATIENCE = 5.0  # s that the store has to answer for the node to be healthy
COUNTERS = {
    "sign_ins": "connections that signed in",
    "refused": "sign-ins and enrolments that were refused",
    "enrolled": "boxes enrolled",
    "entries": "entries stored",
    "rejected": "entries that were not of their form",
    "messages": "messages sent to boxes",
    "alarms": "checkpoints that did not fit to those before",
    "broken": "connections that broke the protocol or said nothing",
    "faults": "mistakes of ours",
}


class NodeCollector(Collector):
    """Turns a node's own counters into metrics when somebody asks."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def collect(self) -> Iterable[Metric]:
        """One metric for each."""
        node, door = self.node, self.node.door
        for name, text in COUNTERS.items():
            yield CounterMetricFamily(f"pbxhub_{name}", text, value=float(node.counts[name]))
        turned_away = CounterMetricFamily("pbxhub_turned_away", "connections refused at the door", labels=["limit"])
        for limit, count in door.refused.items():
            turned_away.add_metric([limit], float(count))
        yield turned_away
        yield GaugeMetricFamily("pbxhub_boxes", "uplinks that this node holds", value=float(len(node.live)))
        yield GaugeMetricFamily("pbxhub_connections", "connections that this node holds", value=float(door.inside))
        yield GaugeMetricFamily("pbxhub_signing_in", "of them, not signed in yet", value=float(door.at_the_door))
        lines = float(len(node.support.lines))
        yield GaugeMetricFamily("pbxhub_support_lines", "boxes that take visitors", value=lines)
        yield GaugeMetricFamily(
            "pbxhub_visits", "ways through to boxes that are open", value=float(node.support.visits)
        )


class OwnServer(uvicorn.Server):
    """uvicorn; signals are the node's own business."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class Web:
    """The HTTP server of a node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        routes = [Route("/metrics", self.metrics), Route("/health", self.health)]
        config = uvicorn.Config(
            Starlette(routes=routes), lifespan="off", log_config=None, access_log=False, server_header=False,
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = OwnServer(config)
        self._task: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen, if the configuration says where. HubError if the address cannot be had."""
        if self.node.config.metrics is None:
            return
        host, _, port = self.node.config.metrics.rpartition(":")
        link = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            link.bind((host.strip("[]"), int(port)))
        except OSError as error:
            link.close()
            raise HubError(f"metrics: {self.node.config.metrics} cannot be had: {error.strerror}") from error
        self.port = link.getsockname()[1]
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[link]))

    async def stop(self) -> None:
        """End."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task

    async def metrics(self, _request: Request) -> Response:
        """Prometheus' text format."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        registry.register(NodeCollector(self.node))
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    async def health(self, _request: Request) -> Response:
        """200 while the store answers."""
        problem = await self._problem()
        found: dict[str, Any] = {
            "node": self.node.config.node, "healthy": not problem, "problem": problem, "boxes": len(self.node.live),
            "connections": self.node.door.inside,
        }  # fmt: skip
        return Response(json.dumps(found), 503 if problem else 200, media_type="application/json")

    async def _problem(self) -> str:
        try:
            async with asyncio.timeout(PATIENCE):
                await self.node.database.read("asking for health", "SELECT 1 FROM hub")
        except TimeoutError:
            return f"the store did not answer in {PATIENCE:.0f} s"
        except StoreError as error:
            return str(error)
        return ""
