"""OpenTelemetry spans of a fix: call → publish → fan-out → deliver.

These stand in for the parts that they are derived from while the setting ``tracing`` is
on; otherwise nothing imports them.  What travels stays the same bytes, so a fix's trace
ends on the server that took it: the delivery to that server's own watchers is in it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

import attrs
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from atriz_realtime.api.contracts import PublishResult
from atriz_realtime.api.errors import RealtimeError
from atriz_realtime.api.http import HttpAnswer, HttpCall
from atriz_realtime.api.model import EntityRef, Identity, Location
from atriz_realtime.api.records import Endpoint
from atriz_realtime.api.wire import Payload
from atriz_realtime.core.publish.delivery import Delivery
from atriz_realtime.core.publish.pipeline import Pipeline
from atriz_realtime.core.runtime.eager import Outside

MAX_IN_FLIGHT = 10_000
"""Fixes whose way back to the watchers here is waited for; beyond, the oldest has no such span."""

_tracer = trace.get_tracer("atriz_realtime")


def _attributes(entity: EntityRef) -> dict[str, str]:
    return {"atriz_realtime.entity.type": entity.type, "atriz_realtime.entity.id": entity.id}


def _fail(span: Span, error: Exception) -> None:
    """Note why something failed: a refusal is no failure of the server."""
    refusal = error if isinstance(error, RealtimeError) else RealtimeError()
    span.set_attribute("error.type", refusal.code)
    if refusal.status >= RealtimeError.status:
        span.set_status(Status(StatusCode.ERROR, refusal.message))


def _span(name: str, kind: SpanKind, context: Context | None = None, **options: Any) -> Any:
    return _tracer.start_as_current_span(
        name,
        context,
        kind,
        record_exception=False,  # its text may hold what is nobody's business
        set_status_on_exception=False,
        **options,
    )


class TracedPipeline(Pipeline):
    """The pipeline, with a span for each fix."""

    async def publish(
        self, entity: EntityRef, location: Location, identity: Identity | None = None
    ) -> PublishResult:
        """Take a fix through the pipeline."""
        if Outside.now:  # the current span is a task's
            return await asyncio.ensure_future(self.publish(entity, location, identity))
        name = f"publish {entity.type}"
        with _span(name, SpanKind.INTERNAL, attributes=_attributes(entity)) as span:
            try:
                result = await super().publish(entity, location, identity)
            except Exception as error:
                _fail(span, error)
                raise
            span.set_attribute("atriz_realtime.outcome", result.outcome)
            return result


class TracedDelivery(Delivery):
    """The delivery, with a span for sending a fix, and one for its delivery here."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._awaited: OrderedDict[bytes, Context] = OrderedDict()

    async def send(self, payload: Payload) -> None:
        """Cache a fix and fan it out."""
        with _span("fan-out", SpanKind.PRODUCER, attributes=_attributes(payload.entity)):
            self._expect(payload)
            await super().send(payload)

    async def fan_out(self, payload: Payload) -> None:
        """Fan out a fix that is cached already; its span's parent is what it was held by."""
        with _span("fan-out", SpanKind.PRODUCER, attributes=_attributes(payload.entity)):
            self._expect(payload)
            await super().fan_out(payload)

    def _expect(self, payload: Payload) -> None:
        """Remember a fix until it comes back to the watchers here, if there are any."""
        span = trace.get_current_span()
        if span.is_recording() and self._comes_back(payload):
            self._awaited[payload.event] = trace.set_span_in_context(span)
            if len(self._awaited) > MAX_IN_FLIGHT:
                self._awaited.popitem(last=False)

    def _deliver(self, channel: str, event: bytes) -> None:
        context = self._awaited.pop(event, None)
        if context is None:
            super()._deliver(channel, event)
            return
        with _span("deliver", SpanKind.CONSUMER, context) as span:
            before = self._broadcaster.statistics()["queued"]
            super()._deliver(channel, event)
            span.set_attribute(
                "atriz_realtime.frames", int(self._broadcaster.statistics()["queued"] - before)
            )


def traced(endpoint: Endpoint) -> Endpoint:
    """An endpoint with a span for each call, whose parent is what the caller says it is."""

    async def handle(call: HttpCall) -> HttpAnswer:
        if Outside.now:  # as above
            return await asyncio.ensure_future(handle(call))
        within = trace.get_current_span().get_span_context().is_valid
        with _span(
            f"{endpoint.method} {endpoint.path}",
            SpanKind.INTERNAL if within else SpanKind.SERVER,  # the host traces its requests
            None if within else propagate.extract(call.headers),
            attributes={"http.request.method": endpoint.method, "http.route": endpoint.path},
        ) as span:
            try:
                answer = await endpoint.handle(call)
            except Exception as error:
                _fail(span, error)
                status = error.status if isinstance(error, RealtimeError) else RealtimeError.status
                span.set_attribute("http.response.status_code", status)
                raise
            span.set_attribute("http.response.status_code", answer.status)
            return answer

    return attrs.evolve(endpoint, handle=handle)
