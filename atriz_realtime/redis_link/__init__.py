"""The server's connection to Redis, wherever that is."""

from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.redis_link.cluster import ClusterLink
from atriz_realtime.redis_link.single import SingleLink
from atriz_realtime.redis_link.url import parse_redis_url

Link = SingleLink | ClusterLink


def make_link(url: str, incidents: Incidents) -> Link:
    """The link that fits a ``redis_url``; nothing is connected yet.

    :raises ConfigurationError: when the URL cannot be used.
    """
    parsed = parse_redis_url(url)
    if parsed.kind == "cluster":
        return ClusterLink(parsed, incidents)
    return SingleLink(parsed, incidents)


__all__ = ["ClusterLink", "Link", "SingleLink", "make_link", "parse_redis_url"]
