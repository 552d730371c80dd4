"""Who may send what: tokens, their regions, services and datasets; and that nobody else sends canaries."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from collector.gateway.canary import SECRET_HEADER
from collector.gateway.http import create_app
from collector.journal.memory import MemoryJournal
from collector.settings import GatewaySettings, TokenSettings
from shippers.clock import FakeClock
from shippers.errors import Misconfigured
from tests.unit.gateway.conftest import Client, a_batch, frames, post

Make = Callable[..., Client]
PAY = TokenSettings(name="pay", token="secret-1", regions=("eu", "cn-*"), services=("pay*",), datasets=("business",))
ALL = TokenSettings(name="all", sha256=hashlib.sha256(b"secret-2").hexdigest())


@pytest.fixture
def guarded(client_of: Make) -> Client:
    return client_of(tokens=(PAY, ALL))


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", "Basic secret-1", "secret-1", "Bearer é"]
)
def test_without_a_known_token_it_is_401(authorization: str | None, guarded: Client, journal: MemoryJournal) -> None:
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    answer = post(guarded, frames(a_batch()), **headers)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert journal.records() == []


@pytest.mark.parametrize("token", ["secret-1", "secret-2"])
def test_a_known_token_opens_whether_the_settings_hold_it_or_its_hash(token: str, guarded: Client) -> None:
    assert post(guarded, frames(a_batch()), Authorization=f"Bearer {token}").status_code == 200


@pytest.mark.parametrize(
    ("code", "header"),
    [
        ("region", {"region": "us"}),
        ("region", {"region": "cn"}),
        ("service", {"service": "order"}),
        ("service", {"service": "my-pay"}),
        ("dataset", {"dataset": "console"}),
    ],
)
def test_what_a_token_does_not_cover_is_403_and_says_which(
    code: str, header: dict[str, str], guarded: Client, journal: MemoryJournal
) -> None:
    answer = post(guarded, frames(a_batch(), a_batch(3, **header)), Authorization="Bearer secret-1")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["index"]) == (403, code, 1)
    assert error["stream"]
    assert journal.records() == []


def test_patterns_are_the_shells(guarded: Client) -> None:
    sent = frames(a_batch(region="cn-east", service="pay-card"))
    assert post(guarded, sent, Authorization="Bearer secret-1").status_code == 200
    assert post(guarded, sent, Authorization="Bearer secret-1").status_code == 200  # the remembered way, too


@pytest.mark.parametrize(
    ("token", "replay", "status"),
    [("secret-1", None, 403), ("secret-1", True, 200), ("secret-2", None, 200), ("secret-2", False, 403)],
)
def test_only_a_token_for_everything_or_one_that_says_so_may_send_again_what_was_settled(
    token: str, replay: bool | None, status: int, client_of: Make, journal: MemoryJournal
) -> None:
    tokens = tuple(TokenSettings.model_validate(one.model_dump() | {"replay": replay}) for one in (PAY, ALL))
    sent = frames(a_batch(region="eu", replay=True))
    answer = post(client_of(tokens=tokens), sent, Authorization=f"Bearer {token}")
    assert (answer.status_code, len(journal.records())) == (status, status == 200)
    if status == 403:
        assert answer.json()["error"]["code"] == "replay"


def test_whoever_is_on_this_machine_may_replay_where_no_tokens_are_asked_for(client: Client) -> None:
    assert post(client, frames(a_batch(replay=True))).status_code == 200


def test_the_streams_of_foreign_records_are_nobody_s_to_send_but_a_replay_s(
    client: Client, journal: MemoryJournal
) -> None:
    stream = f"kafka{'0' * 24}.business"
    answer = post(client, frames(a_batch(stream=stream)))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "stream")
    assert journal.records() == []
    assert post(client, frames(a_batch(stream=stream, replay=True))).status_code == 200


@pytest.mark.parametrize("secret", [None, "", "guess"])
def test_a_canary_from_anybody_else_is_refused(secret: str | None, client: Client, journal: MemoryJournal) -> None:
    canary = a_batch(dataset="heartbeat", service="lastbeat", canary=True, lines=[b"{}"])
    answer = post(client, frames(canary), **({} if secret is None else {SECRET_HEADER: secret}))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "canary")
    assert journal.records() == []


def test_the_canarys_secret_opens_for_canaries_alone(client_of: Make, journal: MemoryJournal) -> None:
    client = client_of(tokens=(PAY,))
    secret = {SECRET_HEADER: client.app.state.gateway._secret}
    canary = a_batch(dataset="heartbeat", service="lastbeat", canary=True, lines=[b"{}"])
    assert post(client, frames(canary), **secret).status_code == 200
    assert post(client, frames(canary, a_batch()), **secret).json()["error"]["code"] == "canary"
    assert len(journal.records()) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::", "gateway.example"])
def test_open_to_the_network_needs_tokens(host: str, journal: MemoryJournal, clock: FakeClock) -> None:
    with pytest.raises(Misconfigured, match="tokens"):
        create_app(journal, GatewaySettings(host=host), clock)
    create_app(journal, GatewaySettings(host=host, tokens=(ALL,)), clock)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "::1", "localhost"])
def test_loopback_needs_none(host: str, journal: MemoryJournal, clock: FakeClock) -> None:
    create_app(journal, GatewaySettings(host=host), clock)


@pytest.mark.parametrize("fields", [{}, {"token": "a", "sha256": "0" * 64}, {"sha256": "abc"}])
def test_a_token_is_given_in_one_way_and_soundly(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        TokenSettings(**fields)
