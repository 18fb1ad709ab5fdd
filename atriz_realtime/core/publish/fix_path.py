"""The parts that a fix goes through: plain ones, or ones that make OpenTelemetry spans."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from atriz_realtime.api.errors import ConfigurationError
from atriz_realtime.api.records import Endpoint
from atriz_realtime.core.publish.delivery import Delivery
from atriz_realtime.core.publish.pipeline import Pipeline


@attrs.frozen
class FixPath:
    """The classes of those parts."""

    delivery: type[Delivery]
    pipeline: type[Pipeline]
    endpoint: Callable[[Endpoint], Endpoint]
    """Wraps an endpoint that takes fixes in."""


def fix_path(*, tracing: bool) -> FixPath:
    """The traced parts, or the plain ones, which pay nothing for tracing.

    :raises ConfigurationError: when tracing is on and OpenTelemetry is not installed.
    """
    if not tracing:
        return FixPath(Delivery, Pipeline, lambda endpoint: endpoint)
    try:
        from atriz_realtime.core.publish.tracing import (  # noqa: PLC0415  # an extra
            TracedDelivery,
            TracedPipeline,
            traced,
        )
    except ImportError as error:
        raise ConfigurationError(
            "tracing needs OpenTelemetry: pip install 'atriz-realtime[otel]'", field="tracing"
        ) from error
    return FixPath(TracedDelivery, TracedPipeline, traced)
