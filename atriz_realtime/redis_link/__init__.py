"""The server's connection to Redis: one server, a primary behind Sentinels, or a cluster."""

from atriz_realtime.redis_link.cluster import ClusterLink
from atriz_realtime.redis_link.pipe import Report
from atriz_realtime.redis_link.single import SingleLink
from atriz_realtime.redis_link.url import parse_redis_url

Link = SingleLink | ClusterLink


def make_link(url: str, report: Report) -> Link:
    """Make the link for a ``redis_url``, not connected yet.

    :param report: called with an incident's kind, message and cause when Redis cannot be reached.
    :raises ConfigurationError: when the URL cannot be used.
    """
    parsed = parse_redis_url(url)
    return (ClusterLink if parsed.kind == "cluster" else SingleLink)(parsed, report)


def optional_link(url: str | None, report: Report) -> Link | None:
    """Like :func:`make_link`; ``None`` without a URL."""
    return None if url is None else make_link(url, report)
