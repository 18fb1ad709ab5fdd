"""Statistics of backends and layers are in the health report, and plugins can read them."""

from __future__ import annotations

from tests.support.plugins.files import Plugins
from tests.support.servers.serving import serving

MEASURING = """
from starlette.responses import JSONResponse
from starlette.routing import Route

from atriz_realtime.defaults.memory import MemoryCache, MemoryFanout, MemorySettings

class Cache(MemoryCache):
    def statistics(self):
        return {"hits": 7}

class Fanout(MemoryFanout):
    def statistics(self):
        raise LookupError("a bug")

class Layer:
    def __init__(self, below):
        self.below, self.published = below, 0
        self.subscribe, self.unsubscribe = below.subscribe, below.unsubscribe

    def publish(self, channel, data):
        self.published += 1
        return self.below.publish(channel, data)

    def statistics(self):
        return {"published": self.published}

@hookimpl
def register_caches():
    async def open_cache(resources):
        return Cache(resources.clock, MemorySettings())
    return CacheBackend("measured", open_cache)

@hookimpl
def register_fanouts():
    async def open_fanout(resources):
        return Fanout()
    return FanoutBackend("measured", open_fanout)

@hookimpl
def register_fanout_layers():
    async def open_layer(below):
        return Layer(below)
    return FanoutLayer("counted", open_layer)

@hookimpl
def register_routes(server):
    async def numbers(request):
        return JSONResponse(server.statistics())
    return Route("/numbers", numbers)
"""


async def test_statistics_of_plugins_are_in_the_report_and_on_the_handle(plugins: Plugins) -> None:
    name = plugins.module("scales", MEASURING)
    async with serving(extra_plugins=[name], cache="measured", fanout="measured") as live:
        await live.server.send_to_user("u1", "hello", {})  # goes through the layer
        status, report = await live.get("/health/realtime")
        assert status == 200
        assert report["statistics"]["cache"] == {"hits": 7}
        assert report["statistics"]["layer counted"] == {"published": 1}
        assert "fanout" not in report["statistics"]
        assert report["incidents"] == {"plugin scales failed": 1}
        assert (await live.get("/numbers"))[1] == report["statistics"]
