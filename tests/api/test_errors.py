"""The errors: every code is unique and stable, and each error has what a client needs."""

from __future__ import annotations

import inspect
from http import HTTPStatus

import pytest

from atriz_realtime import api
from atriz_realtime.api import AuthenticationRejected, InvalidLocation, RealtimeError, errors

CLASSES = [
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, RealtimeError)
]


def test_every_code_is_unique() -> None:
    codes = [error.code for error in CLASSES]
    assert len(codes) == len(set(codes))


def test_codes_and_statuses() -> None:
    assert {error.__name__: (error.code, error.status) for error in CLASSES} == {
        "RealtimeError": ("internal", 500),
        "InvalidRequest": ("bad_request", 400),
        "InvalidLocation": ("invalid_location", 422),
        "InvalidEntityId": ("invalid_entity_id", 422),
        "UnknownEntityType": ("unknown_type", 422),
        "LocationNotFound": ("not_found", 404),
        "NotAuthenticated": ("not_authenticated", 401),
        "AuthenticationRejected": ("invalid_token", 401),
        "NotAuthorized": ("unauthorized", 403),
        "SubscriptionLimit": ("subscription_limit", 429),
        "RateLimited": ("rate_limited", 429),
        "PayloadTooLarge": ("payload_too_large", 413),
        "RequestTimeout": ("request_timeout", 408),
        "RevocationLimit": ("revocation_limit", 503),
        "Unavailable": ("unavailable", 503),
        "PluginFailed": ("plugin_failed", 500),
        "ConfigurationError": ("configuration", 500),
        "PluginError": ("plugin", 500),
    }


@pytest.mark.parametrize("error", CLASSES)
def test_every_class_is_complete(error: type[RealtimeError]) -> None:
    assert error.__name__ in api.__all__
    assert error.__doc__
    assert HTTPStatus(error.status) >= HTTPStatus.BAD_REQUEST
    assert error.code.replace("_", "").isalpha()
    body = error().to_wire()
    assert body == {"success": False, "code": error.code, "message": error.default_message}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (api.NotAuthenticated, "Not authenticated"),
        (api.NotAuthorized, "Unauthorized"),
        (api.SubscriptionLimit, "Subscription limit"),
        (api.AuthenticationRejected, "Authentication failed"),
    ],
)
def test_the_documented_messages(error: type[RealtimeError], message: str) -> None:
    assert error().message == message


def test_an_error_names_its_field() -> None:
    error = InvalidLocation("speed must be 0 or more", field="speed")
    assert str(error) == "speed must be 0 or more"
    assert error.to_wire() == {
        "success": False,
        "code": "invalid_location",
        "message": "speed must be 0 or more",
        "field": "speed",
    }


def test_the_reason_of_a_rejection_is_not_sent() -> None:
    error = AuthenticationRejected("the signature is wrong")
    assert error.reason == "the signature is wrong"
    assert "signature" not in str(error.to_wire())
    assert "signature" not in str(error)
