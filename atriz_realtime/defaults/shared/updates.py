"""Publishes the updates of devices, from HTTP and from sockets, and answers them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime
from functools import partial

import attrs

from atriz_realtime.api import (
    EntityRef,
    Identity,
    InvalidEntityId,
    InvalidRequest,
    Location,
    PayloadTooLarge,
    PluginConfig,
    PublishResult,
    RealtimeError,
    Resources,
    ServerHandle,
    Tracking,
    Unavailable,
)

DOCUMENTED_IDS = {"vehicleId": "vehicle", "deliveryId": "delivery"}
"""Fields that an update may name its entity by, each with the entity type it implies."""

BATCH_TIMEOUT = 30.0
"""Seconds that a batch may take, with plugins that are slow; what it has not published by then is
refused."""

MAX_REJECTED = 100
"""Refused updates that the answer to a batch or a list names; one entry stands for the others."""

TURN_UPDATES = 8
"""Updates that are read and published in one turn of the event loop, for all batches and lists
together: they take about half a millisecond, and some four with the largest metadata."""


@attrs.frozen
class Batch:
    """What became of a batch."""

    accepted: int
    throttled: int
    rejected: list[tuple[int, RealtimeError]]
    """The position of each refused update, in order, and why it was refused."""

    @property
    def faults(self) -> int:
        """Updates that were refused by a fault of the client."""
        return sum(error.status < RealtimeError.status for _, error in self.rejected)

    def answer(self) -> dict[str, object]:
        """The answer for the device."""
        named = [_refused(index, error) for index, error in self.rejected[:MAX_REJECTED]]
        if len(named) < len(self.rejected):
            index, _ = self.rejected[len(named)]
            others = len(self.rejected) - len(named)
            named.append(_refused(index, InvalidRequest(f"{others} more updates were refused")))
        return {
            "success": True,
            "accepted": self.accepted,
            "throttled": self.throttled,
            "rejected": named,
        }


def _refused(index: int, error: RealtimeError) -> dict[str, object]:
    wire = error.to_wire()
    del wire["success"]
    return {"index": index} | wire


class Updates:
    """Publishes updates on behalf of a caller, and returns the answer for the device."""

    def __init__(self, config: PluginConfig, server: ServerHandle, resources: Resources) -> None:
        self._server = server
        self._report = resources.report
        self._max_batch: int = config.settings["max_batch"]
        self._publishing: set[asyncio.Task[None]] = set()

    async def publish(self, update: object, identity: Identity) -> dict[str, object]:
        """Publish one update.

        :raises RealtimeError: when it is refused.
        """
        entity, location = read_update(self._server.tracking, update, identity)
        result = await self._server.tracking.publish(entity, location, identity)
        answer: dict[str, object] = {
            "success": True,
            "timestamp": result.timestamp,
            "message": "Location updated",
        }
        if result.throttled:
            answer["throttled"] = True
        return answer

    async def publish_batch(self, updates: list[object], identity: Identity) -> Batch:
        """Publish many updates independently; those of one entity one after another.

        :raises PayloadTooLarge: for more than ``max_batch`` updates; none is published.
        """
        if len(updates) > self._max_batch:
            raise PayloadTooLarge(f"more than {self._max_batch} updates", field="updates")
        late = Unavailable(f"not finished within {BATCH_TIMEOUT:g} s: it may have been published")
        outcomes: list[PublishResult | RealtimeError] = [late] * len(updates)
        by_entity: defaultdict[EntityRef, list[tuple[int, Location]]] = defaultdict(list)
        take_turn = partial(
            self._server.tracking.take_turn,
            2 * TURN_UPDATES,  # half of its work
            owner=identity.user_id,
        )
        named, alike = 0, dict[str, RealtimeError]()  # errors that are not named share one by code
        loop = asyncio.get_running_loop()
        end = loop.time() + BATCH_TIMEOUT
        for index, update in enumerate(updates):
            await take_turn()
            if loop.time() >= end:
                break
            try:
                entity, location = read_update(self._server.tracking, update, identity)
            except RealtimeError as error:
                named += 1
                error.__traceback__ = None  # its frames take more than the update
                is_named = named <= MAX_REJECTED
                outcomes[index] = error if is_named else alike.setdefault(error.code, error)
            else:
                by_entity[entity].append((index, location))
        publishing: set[asyncio.Task[None]] = set()

        async def publish_entity(entity: EntityRef) -> None:
            for index, location in by_entity[entity]:
                await take_turn()
                if loop.time() >= end:
                    break
                try:
                    result = await self._server.tracking.publish(entity, location, identity)
                    outcomes[index] = result
                except RealtimeError as error:
                    outcomes[index] = error.with_traceback(None)

        for number, entity in enumerate(by_entity, 1):
            task = loop.create_task(publish_entity(entity))
            self._publishing.add(task)
            task.add_done_callback(self._publishing.discard)
            publishing.add(task)
            if number % TURN_UPDATES == 0:
                await asyncio.sleep(0)
        if publishing:  # a fix that is under way at the end goes its way: part of it may be done
            done, _ = await asyncio.wait(publishing, timeout=end - loop.time())
            for task in done:
                task.result()
        results = [each for each in outcomes if isinstance(each, PublishResult)]
        throttled = sum(result.throttled for result in results)
        rejected = [
            (index, each) for index, each in enumerate(outcomes) if isinstance(each, RealtimeError)
        ]
        for index, refusal in rejected:
            self._report(
                "refused {code}",
                f"update {index} of a batch: {refusal.message}",
                labels={"code": refusal.code},
            )
        return Batch(len(results) - throttled, throttled, rejected)


def read_update(
    tracking: Tracking, update: object, identity: Identity
) -> tuple[EntityRef, Location]:
    """Parse an update into an entity and its location.

    ``deviceId`` defaults to the entity's id and ``timestamp`` to now.  ``userId`` is always the
    caller's.

    :raises RealtimeError: when the update is invalid.
    """
    if not isinstance(update, dict):
        raise InvalidRequest("an update must be a JSON object")
    fields = dict(update)
    kind, id_field = fields.pop("type", None), "entityId"
    for name, documented_kind in DOCUMENTED_IDS.items():
        if name in fields and kind in (None, documented_kind):
            kind = documented_kind
            if "entityId" not in fields:
                id_field = name
                break
            if fields.pop(name) != fields["entityId"]:
                raise InvalidRequest(f"{name} and entityId differ", field=name)
    if kind is None:
        raise InvalidRequest("vehicleId, or type and entityId, is required", field="type")
    if id_field not in fields:
        raise InvalidRequest("entityId is required", field="entityId")
    try:
        entity = tracking.entity(kind, fields.pop(id_field))
    except InvalidEntityId as error:
        raise InvalidEntityId(error.message, field=id_field) from error
    fields.setdefault("deviceId", entity.id)
    if "timestamp" not in fields:
        fields["timestamp"] = datetime.now(UTC)
    fields["userId"] = identity.user_id
    return entity, Location.from_wire(fields)
