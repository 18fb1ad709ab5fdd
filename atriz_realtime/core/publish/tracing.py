"""OpenTelemetry spans of a fix: call → publish → fan-out → deliver.

The setting ``tracing`` puts these classes in place of their base classes; while it is off,
nothing imports this module.  Messages between servers carry no trace context, so a fix's trace
covers the server that accepted it, including the delivery to watchers there.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

import attrs

from atriz_realtime.api.contracts import PublishResult
from atriz_realtime.api.errors import ConfigurationError, RealtimeError
from atriz_realtime.api.extras import install_hint
from atriz_realtime.api.http import HttpAnswer, HttpCall
from atriz_realtime.api.model import EntityRef, Identity, Location
from atriz_realtime.api.records import Endpoint
from atriz_realtime.api.wire import Payload
from atriz_realtime.core.publish.delivery import Delivery
from atriz_realtime.core.publish.pipeline import Pipeline
from atriz_realtime.core.runtime.eager import this_thread

try:
    from opentelemetry import propagate, trace
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode
except ImportError as missing:
    raise ConfigurationError(
        f"tracing needs OpenTelemetry: {install_hint('otel')}", field="tracing"
    ) from missing

MAX_IN_FLIGHT = 10_000
"""Fixes that may await their delivery on this server; beyond, the oldest gets no span for it."""

_tracer = trace.get_tracer("atriz_realtime")


def _attributes(entity: EntityRef) -> dict[str, str]:
    return {"atriz_realtime.entity.type": entity.type, "atriz_realtime.entity.id": entity.id}


def _fail(span: Span, error: Exception) -> None:
    """Record an error; a refusal is not the server's failure, and leaves the status unset."""
    refusal = error if isinstance(error, RealtimeError) else RealtimeError()
    span.set_attribute("error.type", refusal.code)
    if refusal.status >= RealtimeError.status:
        span.set_status(Status(StatusCode.ERROR, refusal.message))


def _span(name: str, kind: SpanKind, context: Context | None = None, **options: Any) -> Any:
    return _tracer.start_as_current_span(
        name,
        context,
        kind,
        record_exception=False,  # its text may contain personal data
        set_status_on_exception=False,
        **options,
    )


class TracedPipeline(Pipeline):
    """A pipeline with a span for each fix."""

    async def publish(
        self, entity: EntityRef, location: Location, identity: Identity | None = None
    ) -> PublishResult:
        """Take a fix through the pipeline, within a span."""
        if this_thread.in_eager_step:  # a span becomes current in a task's context
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
    """A delivery with a span for each fan-out, and one for the delivery on this server."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._undelivered: OrderedDict[bytes, Context] = OrderedDict()

    async def publish(self, payload: Payload, *, held: bool = False) -> None:
        """Cache a fix and fan it out, within a span."""
        with _span("fan-out", SpanKind.PRODUCER, attributes=_attributes(payload.entity)) as span:
            if span.is_recording() and self._comes_back(payload):
                self._undelivered[payload.event] = trace.set_span_in_context(span)
                if len(self._undelivered) > MAX_IN_FLIGHT:
                    self._undelivered.popitem(last=False)
            await super().publish(payload, held=held)

    def _deliver(self, channel: str, event: bytes) -> None:
        context = self._undelivered.pop(event, None)
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
    """An endpoint with a span for each call; its parent comes from the caller's headers."""

    async def handle(call: HttpCall) -> HttpAnswer:
        if this_thread.in_eager_step:  # as in TracedPipeline.publish
            return await asyncio.ensure_future(handle(call))
        within = trace.get_current_span().get_span_context().is_valid
        with _span(
            f"{endpoint.method} {endpoint.path}",
            SpanKind.INTERNAL if within else SpanKind.SERVER,  # inside a host's own span
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
