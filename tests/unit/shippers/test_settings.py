"""Settings: arguments before LASTBEAT_* before OpenTelemetry's; a bad variable never harms the host."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shippers.batch import Header
from shippers.errors import Misconfigured
from shippers.identity import clean_name, clean_region, new_boot
from shippers.settings import DEFAULT_URL, load

OTEL = {
    "OTEL_SERVICE_NAME": "otel-shop",
    "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,service.version=2.0,deployment.environment=staging,"
    "service.instance.id=i-1,cloud.region=eu-west,cloud.availability_zone=eu-west-1b,host.name=h%201",
}


def test_without_anything_there_are_sound_defaults():
    settings = load({"service": "shop"}, {})
    me = settings.identity
    assert (me.service, me.region, me.host) == ("shop", "default", socket.gethostname())
    assert me.instance == f"{clean_name(socket.gethostname())}-{os.getpid()}"
    assert (settings.url, settings.interval_s, settings.grace_s, settings.warnings) == (DEFAULT_URL, 10.0, 20.0, ())


def test_opentelemetrys_variables_are_understood():
    me = load({}, OTEL).identity
    assert (me.service, me.version, me.environment, me.instance) == ("otel-shop", "2.0", "staging", "i-1")
    assert (me.region, me.zone, me.host) == ("eu-west", "eu-west-1b", "h 1")


def test_arguments_go_before_our_variables_before_opentelemetrys():
    environ = {**OTEL, "LASTBEAT_SERVICE": "ours", "LASTBEAT_REGION": "cn-east"}
    me = load({"service": "given", "region": None}, environ).identity
    assert (me.service, me.region, me.version) == ("given", "cn-east", "2.0")


def test_the_grace_follows_the_interval():
    assert load({"service": "s", "interval": 2}, {}).grace_s == 4
    assert load({"service": "s", "interval": 2, "grace": 30}, {}).grace_s == 30


@pytest.mark.parametrize(
    "arguments",
    [
        {"service": "my shop"},
        {"service": ""},
        {"service": "x" * 200},
        {"service": 7},
        {"region": "CN East"},
        {"instance": "a/b"},
        {"interval": 0},
        {"interval": "soon"},
        {"interval": float("nan")},
        {"grace": -1},
        {"url": "nowhere"},
        {"url": 7},
        {"token": 7},
        {"buffer_events": 0},
        {"buffer_bytes": "much"},
        {"version": 7},
        {"colour": "red"},
    ],
)
def test_an_argument_that_cannot_work_is_said_at_start(arguments):
    with pytest.raises(Misconfigured, match=next(iter(arguments))):
        load(arguments, {})


def test_a_token_is_never_shown():
    with pytest.raises(Misconfigured) as caught:
        load({"service": "s", "token": "geheim nis"}, {})
    assert "geheim" not in str(caught.value)
    assert "geheim" not in str(load({"service": "s"}, {"LASTBEAT_TOKEN": "geheim nis"}).warnings)


def test_a_variable_that_cannot_work_is_a_warning_and_the_default():
    settings = load(
        {"service": "s"},
        {"LASTBEAT_INTERVAL": "soon", "LASTBEAT_REGION": "CN East", "LASTBEAT_URL": "gw:1", "LASTBEAT_INSTANCE": "a/b"},
    )
    assert (settings.interval_s, settings.identity.region, settings.url) == (10.0, "cn-east", DEFAULT_URL)
    assert settings.identity.instance == "a-b"
    assert len(settings.warnings) == 4
    assert any(
        "LASTBEAT_INTERVAL='soon': must be a number of seconds; using 10.0" in text for text in settings.warnings
    )


def test_a_service_without_a_name_is_told():
    settings = load({}, {})
    assert settings.identity.service == "unknown"
    assert "LASTBEAT_SERVICE" in settings.warnings[0]


@given(st.text(st.characters(), max_size=200), st.text(st.characters(), max_size=60))
def test_whatever_the_environment_says_the_header_is_sound(name, region):
    environ = {"LASTBEAT_SERVICE": name, "LASTBEAT_INSTANCE": name, "LASTBEAT_REGION": region}
    me = load({}, environ).identity
    for identity in (me, me.child(os.getpid(), 999_999)):
        header = Header(f"{new_boot()}.business", 1, 1, me.region, "business", "2026-11-21", me.service, me.instance, 0)
        assert Header.decode(header.encode()).instance == me.instance
        assert identity.instance
    assert clean_region(region)


def test_a_child_has_an_instance_of_its_own():
    me = load({"service": "s", "host": "h"}, {}).identity
    assert me.child(os.getpid(), 99).instance == "h-99"
    assert load({"service": "s", "instance": "pay-01"}, {}).identity.child(1, 99).instance == "pay-01.99"
