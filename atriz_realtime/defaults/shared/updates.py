"""Publishes the updates of devices, from HTTP and from sockets, and answers them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime

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
)

DOCUMENTED_IDS = {"vehicleId": "vehicle", "deliveryId": "delivery"}
"""Fields that an update may name its entity by, each with the entity type it implies."""


class Updates:
    """Publishes updates on behalf of a caller, and returns the answer for the device."""

    def __init__(self, config: PluginConfig, server: ServerHandle, resources: Resources) -> None:
        self._server = server
        self._report = resources.report
        self._max_batch: int = config.settings["max_batch"]

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

    async def publish_batch(self, updates: list[object], identity: Identity) -> dict[str, object]:
        """Publish many updates independently; those of one entity stay in order.

        :raises PayloadTooLarge: for more than ``max_batch`` updates; none is published.
        """
        if len(updates) > self._max_batch:
            raise PayloadTooLarge(f"more than {self._max_batch} updates", field="updates")
        rejected: list[tuple[int, RealtimeError]] = []
        by_entity: defaultdict[EntityRef, list[tuple[int, Location]]] = defaultdict(list)
        for index, update in enumerate(updates):
            try:
                entity, location = read_update(self._server.tracking, update, identity)
            except RealtimeError as error:
                rejected.append((index, error))
            else:
                by_entity[entity].append((index, location))

        async def publish_entity(entity: EntityRef) -> list[PublishResult]:
            results = []
            for index, location in by_entity[entity]:
                try:
                    results.append(await self._server.tracking.publish(entity, location, identity))
                except RealtimeError as error:
                    rejected.append((index, error))
            return results

        done = await asyncio.gather(*(publish_entity(entity) for entity in by_entity))
        results = [result for entity_results in done for result in entity_results]
        throttled = sum(result.throttled for result in results)
        for index, refusal in rejected:
            self._report(
                "refused {code}",
                f"update {index} of a batch: {refusal.message}",
                labels={"code": refusal.code},
            )
        return {
            "success": True,
            "accepted": len(results) - throttled,
            "throttled": throttled,
            "rejected": [
                {"index": index}
                | {key: value for key, value in error.to_wire().items() if key != "success"}
                for index, error in sorted(rejected, key=lambda entry: entry[0])
            ],
        }


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
