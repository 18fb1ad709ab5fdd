"""Parsing a ``redis_url``."""

from __future__ import annotations

import pytest

from atriz_realtime import RealtimeConfig, create_app
from atriz_realtime.api import ConfigurationError
from atriz_realtime.redis_link import make_link
from atriz_realtime.redis_link.url import parse_redis_url

SECRET = "hunter2"


def ignored(kind: str, message: str, *, cause: str) -> None:
    """Take a report."""


@pytest.mark.parametrize(
    "url", ["redis://localhost:6379/1", "rediss://u:p@h", "unix:///run/redis.sock?db=1"]
)
def test_the_url_of_one_server_is_parsed_by_redis_py(url: str) -> None:
    parsed = parse_redis_url(url)
    assert (parsed.text, parsed.kind, parsed.nodes) == (url, "single", ())


@pytest.mark.parametrize(
    ("url", "nodes", "service", "options"),
    [
        (
            "redis+sentinel://a:1,b:2/mymaster",
            (("a", 1), ("b", 2)),
            "mymaster",
            {},
        ),
        (
            f"rediss+sentinel://user:{SECRET}@a,[::1]:2/mymaster/3",
            (("a", 26379), ("::1", 2)),
            "mymaster",
            {"ssl": True, "username": "user", "password": SECRET, "db": 3},
        ),
        (
            "redis+sentinel://:p%40ss%2Fw@a/m",
            (("a", 26379),),
            "m",
            {"password": "p@ss/w"},
        ),
    ],
)
def test_sentinels(
    url: str, nodes: tuple[tuple[str, int], ...], service: str, options: dict[str, object]
) -> None:
    parsed = parse_redis_url(url)
    assert (parsed.kind, parsed.nodes, parsed.service) == ("sentinel", nodes, service)
    assert parsed.options == options
    assert RealtimeConfig(redis_url=url).redis_url == url


@pytest.mark.parametrize(
    ("url", "redis", "sentinels"),
    [
        ("redis+sentinel://:data@a/m", {"password": "data"}, {}),
        (
            f"redis+sentinel://:data@a/m?sentinel_username=s&sentinel_password={SECRET}%25",
            {"password": "data"},
            {"username": "s", "password": f"{SECRET}%"},
        ),
        (
            "rediss+sentinel://a/m?ssl_ca_certs=/ca.pem&health_check_interval=5",
            {"ssl": True, "ssl_ca_certs": "/ca.pem", "health_check_interval": 5},
            {"ssl": True, "ssl_ca_certs": "/ca.pem"},
        ),
        ("rediss+sentinel://a/m?sentinel_ssl=no", {"ssl": True}, {"ssl": False}),
        (
            "redis+sentinel://a/m?sentinel_ssl=yes&sentinel_ssl_ca_certs=/other.pem",
            {},
            {"ssl": True, "ssl_ca_certs": "/other.pem"},
        ),
    ],
)
async def test_sentinels_have_options_of_their_own(
    url: str, redis: dict[str, object], sentinels: dict[str, object]
) -> None:
    parsed = parse_redis_url(url)
    assert (parsed.options, parsed.sentinel_options) == (redis, sentinels)
    assert SECRET not in str(parsed)
    await make_link(url, ignored).client.aclose()


def test_a_cluster() -> None:
    parsed = parse_redis_url(f"redis+cluster://:{SECRET}@a:1,b")
    assert (parsed.kind, parsed.nodes) == ("cluster", (("a", 1), ("b", 6379)))
    assert parsed.options == {"password": SECRET}


@pytest.mark.parametrize("where", ["rediss+sentinel://a:1/mymaster/3", "rediss+cluster://a:1"])
def test_the_query_holds_options_of_redis_py(where: str) -> None:
    query = "ssl_ca_certs=/etc/our%20ca.pem&ssl_check_hostname=no&health_check_interval=5"
    plain, parsed = parse_redis_url(where), parse_redis_url(f"{where}?{query}")
    assert (parsed.nodes, parsed.service) == (plain.nodes, plain.service)
    assert parsed.options == {
        **plain.options,
        "ssl_ca_certs": "/etc/our ca.pem",
        "ssl_check_hostname": False,
        "health_check_interval": 5,
    }


@pytest.mark.parametrize("where", ["redis+sentinel://a:1/m", "redis+cluster://a:1", "redis://a:1"])
async def test_an_option_in_the_url_overrides_the_default(where: str) -> None:
    link = make_link(f"{where}?client_name=mine", ignored)
    assert link.client.get_connection_kwargs()["client_name"] == "mine"


@pytest.mark.parametrize(
    "url",
    [
        "redis://a:1/zero",
        f"rediss://user:{SECRET}@a:1/1/2",
        "redis://a:1/-1",
        "redis+cluster://a:1?health_check_interval=often",
        "redis+cluster://a:1?nonsense=1",
        f"redis+cluster://a:1?sentinel_password={SECRET}",
        f"redis://a:1?sentinel_password={SECRET}",
        f"redis+sentinel://a:1/m?sentinel_password={SECRET}&sentinel_nonsense=1",
        f"rediss+sentinel://a:1/m?sentinel_password={SECRET}&sentinel_ssl_cert_reqs=some",
        "redis+sentinel://a:1",
        "redis+sentinel://a:1/",
        "redis+sentinel:///mymaster",
        "redis+sentinel://a:1/mymaster/zero",
        "redis+cluster://",
        "redis+cluster://a:port",
        "redis+cluster://a:1/2",
        f"redis+cluster://user:{SECRET}/x@a:1",
        f"redis+sentinel://user:{SECRET}@a:b/m",
    ],
)
def test_an_incomplete_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        make_link(url, ignored)
    assert error.value.field == "redis_url"
    assert SECRET not in error.value.message


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@h:1",
        f"redis://h?password={SECRET}",
        f"redis+sentinel://u:{SECRET}@a:1,b:2/m",
        f"rediss+cluster://:{SECRET}@a:1,b:2",
        f"redis+sentinel://a:1,b:2/m?sentinel_password={SECRET}&db=1",
        f"rediss+sentinel://a:1,b:2/m?ssl_password={SECRET}",
    ],
)
def test_the_string_form_hides_the_password(url: str) -> None:
    parsed = parse_redis_url(url)
    assert SECRET not in str(parsed)
    assert "a:1,b:2" in str(parsed) or "h" in str(parsed)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"redis://:{SECRET}@h/3?timeout=5", "no option 'timeout'"),
        (f"rediss://:{SECRET}@h?ssl_cert_reqs=some", "Invalid SSL Certificate Requirements"),
        (f"redis://:{SECRET}@h?db=first", "Invalid value for 'db'"),
    ],
)
def test_an_option_that_redis_py_does_not_have_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as error:
        create_app(RealtimeConfig(redis_url=url, jwt_secret=SECRET * 5))
    assert error.value.field == "redis_url"
    assert SECRET not in error.value.message
