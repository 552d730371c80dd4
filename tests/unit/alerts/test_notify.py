"""The notifiers' contract, against real listeners on loopback."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import ValidationError

from alerts.deadman import DeadMansSwitch
from alerts.incidents import Incident, Notice, Severity, Status
from alerts.notify.apprise import Apprise
from alerts.notify.console import Console
from alerts.notify.kinds import build
from alerts.notify.message import Undelivered, compose
from alerts.notify.webhook import Webhook
from alerts.settings import AlertSettings, NotifierSettings
from shippers.errors import Misconfigured

INCIDENT = Incident(
    "down-abc", "down/cn-east/支付", "down", Severity.PAGE, Status.FIRING, "cn-east", "支付", "", "",
    "支付 is down in cn-east", "last beat 32 s ago, allowed 30 s", 1_700_000_000.0, 1_700_000_031.0,
)  # fmt: skip
MESSAGE = compose(INCIDENT, Notice("hook", "firing", 1.0, 1.0))


class Listener:
    """Answers with the next status of a list; remembers what it was sent."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.seen: list[tuple[dict[str, str], Any]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                listener.seen.append((dict(self.headers), json.loads(body or b"null")))
                status, headers = listener.answers.pop(0) if listener.answers else (200, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.address = f"127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def webhook(listener: Listener) -> Iterator[Webhook]:
    made = Webhook(f"http://{listener.address}/hook", {"X-Team": "pay"}, 2.0)
    yield made
    made.close()


def test_a_webhook_posts_the_message_with_its_own_key(listener: Listener, webhook: Webhook) -> None:
    webhook.send(MESSAGE)
    webhook.send(MESSAGE)
    (first, body), (second, _) = listener.seen
    assert body["title"] == "✖ 支付 is down in cn-east"
    assert (body["dedup_key"], body["turn"], body["severity"]) == ("down/cn-east/支付", "firing", "page")
    assert first["Idempotency-Key"] == second["Idempotency-Key"] == "down-abc:firing:hook"
    assert first["X-Team"] == "pay"


@pytest.mark.parametrize(
    ("status", "permanent"),
    [(500, False), (503, False), (429, False), (408, False), (400, True), (404, True), (302, True)],
)
def test_a_webhooks_answer_says_whether_to_try_again(
    listener: Listener, webhook: Webhook, status: int, permanent: bool
) -> None:
    listener.answers.append((status, {"Retry-After": "7", "Location": "/elsewhere"}))
    with pytest.raises(Undelivered, match=str(status)) as caught:
        webhook.send(MESSAGE)
    assert (caught.value.permanent, caught.value.retry_after_s) == (permanent, 7.0)


def test_a_webhook_that_nobody_answers_is_tried_again_and_hides_its_secret() -> None:
    webhook = Webhook("http://127.0.0.1:9/secret-token", {}, 1.0)
    with pytest.raises(Undelivered) as caught:
        webhook.send(MESSAGE)
    assert not caught.value.permanent
    assert "secret" not in str(caught.value)
    webhook.close()


@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")
def test_apprise_tells_through_its_url(listener: Listener) -> None:
    Apprise("chat", f"json://{listener.address}/").send(MESSAGE)
    ((_, body),) = listener.seen
    assert body["title"] == "✖ 支付 is down in cn-east"
    assert body["type"] == "failure"


@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")
def test_apprise_that_fails_is_tried_again(listener: Listener) -> None:
    listener.answers.append((500, {}))
    with pytest.raises(Undelivered):
        Apprise("chat", f"json://{listener.address}/").send(MESSAGE)


@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")
def test_an_apprise_url_that_it_does_not_know_is_said_at_start() -> None:
    with pytest.raises(Misconfigured, match="chat"):
        build([NotifierSettings(name="chat", kind="apprise", url="nonsense://x")])


def test_the_console_prints_and_says_if_it_cannot() -> None:
    out = io.StringIO()
    Console(out).send(MESSAGE)
    assert out.getvalue().startswith("✖ 支付 is down in cn-east\n    last beat 32 s ago")
    out.close()
    with pytest.raises(Undelivered):
        Console(out).send(MESSAGE)
    with pytest.raises(Undelivered):
        Console(io.TextIOWrapper(io.BytesIO(), "ascii")).send(MESSAGE)


@pytest.mark.parametrize(
    ("turn", "title"),
    [
        ("firing", "✖ 支付 is down in cn-east"),
        ("again-2", "✖ again: 支付 is down in cn-east"),
        ("flapping", "✖ comes and goes: 支付 is down in cn-east"),
        ("reminder-1", "✖ still, and nobody has acknowledged it: 支付 is down in cn-east"),
        ("resolved", "● over after 1 min: 支付 is down in cn-east"),
    ],
)
def test_each_turn_has_its_words(turn: str, title: str) -> None:
    over = {"resolved_at": 1_700_000_060.0, "status": Status.RESOLVED} if turn == "resolved" else {}
    from dataclasses import replace

    assert compose(replace(INCIDENT, **over), Notice("hook", turn, 1.0, 1.0)).title == title  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [{"kind": "webhook"}, {"kind": "apprise", "url": "slack"}, {"kind": "pigeon"}])
def test_a_notifier_that_cannot_work_is_refused_by_the_settings(bad: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        AlertSettings(notifiers=(bad,))  # type: ignore[arg-type]


def test_two_notifiers_of_one_name_are_refused() -> None:
    with pytest.raises(Misconfigured, match="two are named"):
        build([NotifierSettings(), NotifierSettings()])


def test_the_dead_mans_switch_is_held_only_while_the_watch_sees(listener: Listener) -> None:
    sees = [True, False, True]
    switch = DeadMansSwitch(f"http://{listener.address}/", lambda: sees.pop(0))
    switch.step()
    switch.step()
    listener.answers.append((500, {}))
    switch.step()
    assert (len(listener.seen), switch.pings, switch.failures) == (2, 1, 1)
