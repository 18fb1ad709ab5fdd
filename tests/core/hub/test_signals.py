"""Signals between the plugins of all servers."""

from __future__ import annotations

from typing import Any

import pytest

from atriz_realtime.api import PayloadTooLarge, PluginError, RedisChannels, Unavailable
from atriz_realtime.core.hub.signals import MAX_SIGNAL, Signals
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.defaults.memory import MemoryFanout
from tests.core.parts import Fanned


async def listening(incidents: Incidents, fanout: MemoryFanout) -> tuple[Signals, list[Any]]:
    """The signals of a running server, and what it was sent."""
    signals, heard = Signals(incidents), list[Any]()
    signals.listen("test", heard.append)
    await signals.start(fanout)
    return signals, heard


async def test_every_server_hears_a_signal_once(incidents: Incidents) -> None:
    one, two = MemoryFanout(), MemoryFanout()

    class Both(MemoryFanout):
        async def publish(self, channel: str, data: bytes) -> None:
            for fanout in (one, two):
                await fanout.publish(channel, data)

    sender = Both()
    sender.subscribe = one.subscribe  # type: ignore[method-assign]  # the first server's own
    signals, here = await listening(incidents, sender)
    _, there = await listening(incidents, two)
    await signals.send("test", {"a": (1, 2)})
    await signals.send("other", 1)
    assert here == there == [{"a": [1, 2]}]


async def test_a_signal_has_a_size(incidents: Incidents) -> None:
    signals, heard = await listening(incidents, Fanned())
    rest = len(b'{"from":"0123456789abcdef","name":"test","data":""}')
    await signals.send("test", "x" * (MAX_SIGNAL - rest))
    with pytest.raises(PayloadTooLarge):
        await signals.send("test", "x" * (MAX_SIGNAL - rest + 1))
    assert len(heard) == 1


async def test_a_server_that_does_not_run_tells_only_itself(incidents: Incidents) -> None:
    fanout = Fanned()
    signals, heard = await listening(incidents, fanout)
    await signals.aclose()
    await signals.aclose()
    assert fanout.asked == [f"+{RedisChannels.SIGNALS}", f"-{RedisChannels.SIGNALS}"]
    with pytest.raises(Unavailable, match="not running"):
        await signals.send("test", 1)
    assert heard == [1]


@pytest.mark.parametrize(
    "message", [b"[]", b"{", b'{"from":"x","name":"test"}', b'{"name":"test","data":1}']
)
async def test_what_is_no_signal_is_counted(incidents: Incidents, message: bytes) -> None:
    fanout = Fanned()
    _, heard = await listening(incidents, fanout)
    await fanout.publish(RedisChannels.SIGNALS, message)
    assert incidents.counts == {"foreign signal ignored": 1}
    await fanout.publish(RedisChannels.SIGNALS, b'{"from":"x","name":["test"],"data":1}')
    assert heard == []


async def late(_: object) -> None:
    """Would not be awaited."""


@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        (late, "must be a plain function: remove `async`"),
        (5, "must be a function that takes (data), not int"),
        (lambda: None, "must take (data), not ()"),
    ],
)
def test_a_handler_that_cannot_be_called_is_refused(
    incidents: Incidents, handler: Any, problem: str
) -> None:
    with pytest.raises(PluginError) as error:
        Signals(incidents).listen("test", handler)
    assert error.value.message == f"the handler of the signal 'test' {problem}"


def missing(data: Any) -> None:
    data["missing"]


async def test_a_handler_that_fails_harms_no_other(
    incidents: Incidents, caplog: pytest.LogCaptureFixture
) -> None:
    signals = Signals(incidents)
    heard: list[Any] = []
    signals.listen("test", missing)
    signals.listen("test", heard.append)
    await signals.start(Fanned())
    await signals.send("test", {})
    assert heard == [{}]
    assert incidents.counts == {"signal handler failed": 1}
    assert caplog.messages == [f"signal handler failed: test: {__name__}.missing: KeyError"]


async def test_every_handler_is_told_of_a_gap(incidents: Incidents) -> None:
    signals, told = Signals(incidents), list[str]()

    def broken() -> None:
        raise LookupError("no store")

    signals.on_gap(broken)
    signals.on_gap(lambda: told.append("gap"))
    signals.gap_ended()
    assert told == ["gap"]
    assert incidents.counts["signal handler failed"] == 1
    with pytest.raises(PluginError, match="gap"):
        signals.on_gap(lambda _: None)  # type: ignore[misc, arg-type]
