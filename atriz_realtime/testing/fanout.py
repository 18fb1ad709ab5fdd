"""The contract of fan-outs."""

from __future__ import annotations

import asyncio
import math

import pytest

from atriz_realtime.api import BackendStatus, Closeable, Fanout, Measuring, Reporting
from atriz_realtime.testing.serving import until

CHANNEL = "tracking:vehicle:v1"
END = b"the end"


class Inbox:
    """A subscriber that stores its messages; pass it as ``deliver``."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []

    def __call__(self, channel: str, data: bytes) -> None:
        """Store a message."""
        self.messages.append((channel, data))

    @property
    def data(self) -> list[bytes]:
        """The messages without their channels."""
        return [data for _, data in self.messages]

    async def reaches(self, count: int) -> None:
        """Wait until ``count`` messages have arrived."""
        await until(lambda: len(self.messages) >= count)


async def everything_sent_has_arrived(
    fanout: Fanout, channel: str, sender: Fanout | None = None
) -> None:
    """Wait until all messages of a channel have arrived, by sending one more after them."""
    inbox = Inbox()
    await fanout.subscribe(channel, inbox)
    await (sender or fanout).publish(channel, END)
    await until(lambda: END in inbox.data)
    fanout.unsubscribe(channel)


@pytest.mark.asyncio
class FanoutContract:
    """The contract of :class:`~atriz_realtime.api.Fanout`, as tests.

    Name a subclass ``Test…`` and override the fixture ``fanout``.

    Example::

        class TestMyFanout(FanoutContract):
            @pytest.fixture
            def fanout(self):
                return MyFanout()
    """

    @pytest.fixture
    def fanout(self) -> Fanout:
        """The fan-out to test, without subscriptions."""
        raise NotImplementedError("override the fixture `fanout`")

    # -- publish ---------------------------------------------------------------------------

    async def test_a_server_gets_its_own_messages(self, fanout: Fanout) -> None:
        inbox = Inbox()
        await fanout.subscribe(CHANNEL, inbox)
        await fanout.publish(CHANNEL, b"fix")
        await inbox.reaches(1)
        assert inbox.messages == [(CHANNEL, b"fix")]

    async def test_publishing_to_nobody_is_harmless(self, fanout: Fanout) -> None:
        await fanout.publish(CHANNEL, b"fix")

    @pytest.mark.parametrize(
        "data", [b"", b"\x00\r\n\xff\xfe", b"*1\r\n$4\r\nPING\r\n", bytes(range(256)) * 512]
    )
    async def test_any_bytes_arrive_as_they_are(self, fanout: Fanout, data: bytes) -> None:
        inbox = Inbox()
        await fanout.subscribe(CHANNEL, inbox)
        await fanout.publish(CHANNEL, data)
        await inbox.reaches(1)
        assert inbox.data == [data]

    @pytest.mark.parametrize(
        "channel", ["tracking:vehicle:飛-🚚", "tracking:vehicle:[a]?\\x {0} %s", "t", "t:" * 200]
    )
    async def test_any_channel_is_only_itself(self, fanout: Fanout, channel: str) -> None:
        inbox, other = Inbox(), Inbox()
        await fanout.subscribe(channel, inbox)
        await fanout.subscribe(CHANNEL, other)
        await fanout.publish(channel, b"mine")
        await fanout.publish(CHANNEL, b"other")
        await inbox.reaches(1)
        await other.reaches(1)
        assert inbox.messages == [(channel, b"mine")]
        assert other.messages == [(CHANNEL, b"other")]

    async def test_messages_of_a_channel_arrive_in_order(self, fanout: Fanout) -> None:
        inbox = Inbox()
        sent = [b"%d" % number for number in range(500)]
        await fanout.subscribe(CHANNEL, inbox)
        for data in sent:
            await fanout.publish(CHANNEL, data)
        await inbox.reaches(len(sent))
        assert inbox.data == sent

    async def test_messages_queued_together_arrive_in_order(self, fanout: Fanout) -> None:
        inbox = Inbox()
        sent = [b"%d" % number for number in range(500)]
        await fanout.subscribe(CHANNEL, inbox)
        for publishing in [fanout.publish(CHANNEL, data) for data in sent]:
            await publishing
        await inbox.reaches(len(sent))
        assert inbox.data == sent

    # -- subscribe and unsubscribe ---------------------------------------------------------

    async def test_nothing_is_missed_once_subscribed(self, fanout: Fanout) -> None:
        for number in range(50):
            inbox = Inbox()
            await fanout.subscribe(f"c{number}", inbox)
            await fanout.publish(f"c{number}", b"at once")
            await inbox.reaches(1)
            fanout.unsubscribe(f"c{number}")

    async def test_many_channels_at_once(self, fanout: Fanout) -> None:
        inboxes = {f"tracking:vehicle:v{number}": Inbox() for number in range(2_000)}
        await asyncio.gather(
            *(fanout.subscribe(channel, inbox) for channel, inbox in inboxes.items())
        )
        await asyncio.gather(*(fanout.publish(channel, channel.encode()) for channel in inboxes))
        for channel, inbox in inboxes.items():
            await inbox.reaches(1)
            assert inbox.messages == [(channel, channel.encode())]
        for channel in inboxes:
            fanout.unsubscribe(channel)

    async def test_nothing_arrives_after_unsubscribing(self, fanout: Fanout) -> None:
        left, kept = Inbox(), Inbox()
        await fanout.subscribe("left", left)
        await fanout.subscribe("kept", kept)
        await fanout.publish("left", b"before")
        await left.reaches(1)
        fanout.unsubscribe("left")
        await fanout.publish("left", b"after")
        await fanout.publish("kept", b"after")
        await kept.reaches(1)
        await everything_sent_has_arrived(fanout, "left")
        assert left.data == [b"before"]

    async def test_unsubscribing_from_what_was_not_subscribed_is_harmless(
        self, fanout: Fanout
    ) -> None:
        fanout.unsubscribe(CHANNEL)
        fanout.unsubscribe("tracking:*")

    async def test_a_channel_can_be_left_and_joined_in_one_turn(self, fanout: Fanout) -> None:
        before, after = Inbox(), Inbox()
        await fanout.subscribe(CHANNEL, before)
        fanout.unsubscribe(CHANNEL)
        await fanout.subscribe(CHANNEL, after)
        await fanout.publish(CHANNEL, b"fix")
        await after.reaches(1)
        assert before.data == []

    async def test_a_channel_can_be_joined_and_left_in_one_turn(self, fanout: Fanout) -> None:
        inbox = Inbox()
        joining = fanout.subscribe(CHANNEL, inbox)
        fanout.unsubscribe(CHANNEL)
        await joining
        await fanout.publish(CHANNEL, b"fix")
        await everything_sent_has_arrived(fanout, CHANNEL)
        assert inbox.data == []

    @pytest.mark.parametrize("turns", range(1, 9))
    async def test_a_channel_can_be_left_and_joined_while_it_is_being_joined(
        self, fanout: Fanout, turns: int
    ) -> None:
        async def a_little() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        inbox = Inbox()
        joining = asyncio.ensure_future(fanout.subscribe(CHANNEL, Inbox()))
        await a_little()
        fanout.unsubscribe(CHANNEL)
        await a_little()
        await fanout.subscribe(CHANNEL, inbox)
        await fanout.publish(CHANNEL, b"fix")
        await inbox.reaches(1)
        assert inbox.data == [b"fix"]
        await joining

    async def test_a_channel_has_one_subscriber(self, fanout: Fanout) -> None:
        first, second = Inbox(), Inbox()
        await fanout.subscribe(CHANNEL, first)
        await fanout.subscribe(CHANNEL, second)
        await fanout.publish(CHANNEL, b"fix")
        await everything_sent_has_arrived(fanout, "another")
        await second.reaches(1)
        assert first.data == []
        assert second.data == [b"fix"]

    async def test_a_subscriber_may_leave_while_it_takes_a_message(self, fanout: Fanout) -> None:
        inbox = Inbox()

        def once(channel: str, data: bytes) -> None:
            inbox(channel, data)
            fanout.unsubscribe("tracking:*")

        await fanout.subscribe("tracking:*", once)
        await fanout.publish(CHANNEL, b"1")
        await inbox.reaches(1)
        await fanout.publish(CHANNEL, b"2")
        await everything_sent_has_arrived(fanout, CHANNEL)
        assert inbox.data == [b"1"]

    # -- patterns --------------------------------------------------------------------------

    async def test_a_pattern_matches_every_channel_that_begins_so(self, fanout: Fanout) -> None:
        inbox = Inbox()
        await fanout.subscribe("tracking:*", inbox)
        channels = ["tracking:", "tracking:vehicle:v1", "tracking:delivery:d1", "tracking:*"]
        for channel in ["tracking", "other:tracking:", "Tracking:v1", *channels]:
            await fanout.publish(channel, channel.encode())
        await inbox.reaches(len(channels))
        assert inbox.messages == [(channel, channel.encode()) for channel in channels]

    async def test_the_rest_of_a_pattern_is_taken_literally(self, fanout: Fanout) -> None:
        inbox = Inbox()
        await fanout.subscribe("t?[ab]\\*:*", inbox)
        await fanout.publish("txa*:1", b"no")
        await fanout.publish("t?[ab]\\*:1", b"yes")
        await inbox.reaches(1)
        assert inbox.messages == [("t?[ab]\\*:1", b"yes")]

    async def test_a_pattern_and_a_channel_are_apart(self, fanout: Fanout) -> None:
        pattern, channel = Inbox(), Inbox()
        await fanout.subscribe("tracking:*", pattern)
        await fanout.subscribe(CHANNEL, channel)
        await fanout.publish(CHANNEL, b"1")
        await pattern.reaches(1)
        await channel.reaches(1)
        fanout.unsubscribe("tracking:*")
        await fanout.publish(CHANNEL, b"2")
        await channel.reaches(2)
        assert pattern.data == [b"1"]
        assert channel.data == [b"1", b"2"]

    # -- further abilities -----------------------------------------------------------------

    async def test_it_reports_its_status_and_can_be_closed_twice(self, fanout: Fanout) -> None:
        await fanout.subscribe(CHANNEL, Inbox())
        if isinstance(fanout, Reporting):
            status = fanout.status()
            assert isinstance(status, BackendStatus)
            assert status.state != "disconnected"
        if isinstance(fanout, Measuring):
            assert all(math.isfinite(number) for number in fanout.statistics().values())
        if isinstance(fanout, Closeable):
            await fanout.aclose()
            await fanout.aclose()
