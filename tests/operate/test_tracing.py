"""OpenTelemetry spans of real fixes, as an exporter receives them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from atriz_realtime.api import ConfigurationError
from atriz_realtime.core import publish
from atriz_realtime.core.publish.service import fix_path
from atriz_realtime.testing import serving, token, until, watching

EXPORTER = InMemorySpanExporter()

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
"""The example of https://www.w3.org/TR/trace-context/: a trace, a span, sampled."""


@pytest.fixture(scope="module", autouse=True)
def provider() -> None:
    """The provider of the process, which can be set only once."""
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider())
    given: Any = trace.get_tracer_provider()
    given.add_span_processor(SimpleSpanProcessor(EXPORTER))


@pytest.fixture(autouse=True)
def emptied() -> Iterator[None]:
    EXPORTER.clear()
    yield
    EXPORTER.clear()


def spans() -> dict[str, ReadableSpan]:
    """The spans so far, by name."""
    return {span.name: span for span in EXPORTER.get_finished_spans()}


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent is not None else None


def id_of(span: ReadableSpan) -> int:
    return context_of(span).span_id


def context_of(span: ReadableSpan) -> trace.SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


@pytest.mark.parametrize("backend", ["memory", "redis"])
async def test_a_call_is_traced_to_the_watchers_of_this_server(
    backend: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("redis_url") if backend == "redis" else None
    headers = {"Authorization": f"Bearer {token()}", "traceparent": TRACEPARENT}
    body = {"vehicleId": "v1", "latitude": 52.66, "longitude": -8.62}
    async with (
        serving(tracing=True, redis_url=url) as live,
        watching(live, "v1") as one,
        watching(live, "v1"),
    ):
        status, _ = await live.post("/api/tracking/location", body, headers=headers)
        assert status == 200
        await until(lambda: one.updates and "deliver" in spans())
    found = spans()
    call, publish = found["POST /api/tracking/location"], found["publish vehicle"]
    fan_out, deliver = found["fan-out"], found["deliver"]
    assert len(EXPORTER.get_finished_spans()) == 4
    _, trace_id, span_id, _ = TRACEPARENT.split("-")
    assert {context_of(span).trace_id for span in found.values()} == {int(trace_id, 16)}
    assert parent_of(call) == int(span_id, 16)
    assert parent_of(publish) == id_of(call)
    assert parent_of(fan_out) == id_of(publish)
    assert parent_of(deliver) == id_of(fan_out)
    assert publish.attributes == {
        "atriz_realtime.entity.type": "vehicle",
        "atriz_realtime.entity.id": "v1",
        "atriz_realtime.outcome": "published",
    }
    assert deliver.attributes == {"atriz_realtime.frames": 2}
    assert call.attributes is not None
    assert call.attributes["http.response.status_code"] == 200
    told = "".join(span.to_json() for span in found.values())
    assert "52.66" not in told
    assert token() not in told


async def test_each_fix_over_a_socket_starts_a_trace() -> None:
    async with serving(tracing=True) as live, watching(live, "v1") as watcher:
        for entity in ("v1", "v2"):
            update = {"vehicleId": entity, "latitude": 1, "longitude": 2}
            assert (await watcher.call("location:publish", update))["success"]
        await until(lambda: watcher.updates)
    published = [s for s in EXPORTER.get_finished_spans() if s.name == "publish vehicle"]
    assert [parent_of(span) for span in published] == [None, None]
    assert len({context_of(span).trace_id for span in published}) == 2
    assert sum(s.name == "deliver" for s in EXPORTER.get_finished_spans()) == 1  # none for v2


async def test_a_held_fix_is_sent_in_its_own_trace() -> None:
    settings: dict[str, Any] = {"throttle": "latest", "throttle_interval": 50, "tracing": True}
    async with serving(**settings) as live, watching(live, "v1") as watcher:
        await live.publish("v1", latitude=1)
        await live.publish("v1", latitude=2)
        await until(lambda: len(watcher.updates) == 2)
    found = EXPORTER.get_finished_spans()
    held = next(s for s in found if (s.attributes or {}).get("atriz_realtime.outcome") == "held")
    fan_out = next(s for s in found if s.name == "fan-out" and parent_of(s) == id_of(held))
    assert [s.name for s in found if parent_of(s) == id_of(fan_out)] == ["deliver"]


async def test_a_refusal_is_an_attribute_and_not_an_error() -> None:
    async with serving(tracing=True) as live:
        await live.post("/api/tracking/location", {"vehicleId": "v1"})
        assert "publish vehicle" not in spans()
        ahead = {"latitude": 1, "longitude": 1, "timestamp": "2999-01-01T00:00:00Z"}
        await live.post("/api/tracking/location", {"vehicleId": "v1", **ahead})
    refused = spans()["publish vehicle"]
    assert refused.attributes is not None
    assert refused.attributes["error.type"] == "invalid_location"
    assert refused.status.is_unset
    assert list(refused.events) == []


async def test_no_spans_without_tracing() -> None:
    async with serving() as live, watching(live, "v1") as watcher:
        await live.publish("v1")
        await until(lambda: watcher.updates)
    assert spans() == {}


def test_tracing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "atriz_realtime.core.publish.tracing", raising=False)
    monkeypatch.delattr(publish, "tracing", raising=False)
    with pytest.raises(ConfigurationError, match=r"pip install 'atriz-realtime\[otel\]'"):
        fix_path(tracing=True)
