"""The server's own origin behind a proxy: trusted proxies name it, not clients."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from atriz_realtime.engine.request.origins import origin_of
from atriz_realtime.engine.request.proxies import FORWARDED_HOST, TrustedProxies
from tests.security.conftest import Serve
from tests.security.test_edge import PATH
from tests.support.clients.polling import poller
from tests.support.clients.websocket import OFFER, wire
from tests.support.plugins.files import plugins_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVIL = "https://evil.example.com"
CLAIMED = {"X-Forwarded-Host": "evil.example.com", "X-Forwarded-Proto": "https"}


@pytest.mark.parametrize(
    ("trusted", "page"),
    [("127.0.0.1", EVIL), ("10.0.0.1", None)],
    ids=["from a trusted proxy", "from another client"],
)
async def test_only_a_trusted_proxy_names_the_server(
    serve: Serve, trusted: str, page: str | None
) -> None:
    async with AsyncExitStack() as stack:
        live = await stack.enter_async_context(serve(trusted_proxies=trusted))
        client = await stack.enter_async_context(poller(live.port, PATH))
        answer = await client.request(
            "GET", "EIO=4&transport=polling", headers={**CLAIMED, "Origin": EVIL}
        )
        # every page may read why it is refused
        assert answer.headers.get("Access-Control-Allow-Origin") == (page or "*")
        assert answer.status == (200 if page else 403)
        if not page:
            refused = await client.handshake("EIO=4&transport=websocket", Origin=EVIL, **CLAIMED)
            assert refused.status == 403
            return
        offer = [*OFFER.items(), *CLAIMED.items(), ("Origin", EVIL)]
        target = f"{PATH}?EIO=4&transport=websocket"
        socket = await stack.enter_async_context(wire(live.port, target, offer))
        assert str(await socket.message()).startswith("0{")


async def test_without_trusted_proxies_forwarded_hosts_are_ignored(serve: Serve) -> None:
    """uvicorn trusts its own list of proxies for the scheme, and ignores forwarded hosts."""
    async with serve() as live, poller(live.port, PATH) as client:
        here = f"127.0.0.1:{live.port}"
        for origin, status in [(EVIL, 403), (f"https://{here}", 200), (f"http://{here}", 403)]:
            answer = await client.request(
                "GET", "EIO=4&transport=polling", headers={**CLAIMED, "Origin": origin}
            )
            assert answer.status == status


PAGE = """
from atriz_realtime.api import hookimpl

@hookimpl
def register_routes(server):
    server.allow_page("https://map.example.com/page")
"""


@pytest.mark.parametrize("cors_origin", [(), ("https://app.example.com",)], ids=["own", "list"])
async def test_a_page_of_a_plugin_connects_from_the_address_that_is_configured(
    serve: Serve, tmp_path: Path, cors_origin: tuple[str, ...]
) -> None:
    settings: dict[str, Any] = {
        "cors_origin": cors_origin,
        "extra_plugins": ["map_page"],
        "plugins": {"sharing": {"url": "https://Live.example.com:443/fleet"}},
    }
    async with AsyncExitStack() as stack:
        stack.enter_context(plugins_in(tmp_path)).module("map_page", PAGE)
        live = await stack.enter_async_context(serve(**settings))
        client = await stack.enter_async_context(poller(live.port, PATH))
        for origin, status in [
            ("https://map.example.com", 200),
            ("https://live.example.com", 200),
            ("http://live.example.com", 403),
            ("https://live.example.com:8443", 403),
            (EVIL, 403),
        ]:
            answer = await client.request(
                "GET", "EIO=4&transport=polling", headers={"Origin": origin}
            )
            assert answer.status == status, origin


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Live.Example.com/", "https://live.example.com"),
        ("https://live.example.com:443", "https://live.example.com"),
        ("http://live.example.com:80/live", "http://live.example.com"),
        ("http://live.example.com:443", "http://live.example.com:443"),
        ("http://[::1]:3001", "http://[::1]:3001"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
async def test_the_origin_of_a_page_is_the_one_that_browsers_send(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize("url", ["live.example.com", "ftp://a.example", "https://"])
async def test_what_is_no_address_has_no_origin(url: str) -> None:
    with pytest.raises(ValueError, match="is no address such as"):
        origin_of(url)


@pytest.mark.parametrize(
    ("lines", "hops", "host"),
    [
        (["shop.example"], [], "shop.example"),
        (["evil.example, shop.example"], [], "shop.example"),
        (["evil.example", "shop.example"], [], "shop.example"),
        (["shop.example, inner.example"], ["198.51.100.7, 10.1.2.3"], "shop.example"),
        ([], [], None),
        ([""], [], None),
    ],
)
async def test_the_host_is_the_one_that_the_first_trusted_proxy_received(
    lines: list[str], hops: list[str], host: str | None
) -> None:
    scope: dict[str, Any] = {"type": "http", "scheme": "http", "client": ("127.0.0.1", 5)}
    scope["headers"] = [
        *((b"x-forwarded-host", line.encode()) for line in lines),
        *((b"x-forwarded-for", line.encode()) for line in hops),
    ]
    TrustedProxies(["127.0.0.1", "10.0.0.0/8"]).rewrite(scope)
    assert scope.get(FORWARDED_HOST) == host
