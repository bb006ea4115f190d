"""Who may look at the page, and what they get: over a real socket. The camera is scripted."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from models.errors import AddressError, UserError
from pipeline.config import ConfigError
from pipeline.dashboard.access import cookie_name
from pipeline.dashboard.page import Dashboard
from pipeline.dashboard.patience import MOST_OF_ONE
from pipeline.keys import KeysError
from tests.pipeline.dashboard.feed import TOKEN, Feed, get, port_of, served, settings

WAIT_S = 60


def live(feed: Feed, **more: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port_of(feed)}/live", open_timeout=WAIT_S, **more)


def live_with_token(feed: Feed) -> ClientConnection:
    return live(feed, additional_headers={"Authorization": f"Bearer {TOKEN}"})


def refused(feed: Feed, **more: Any) -> int:
    with pytest.raises(InvalidStatus) as error, live(feed, **more):
        pass
    return error.value.response.status_code


def test_the_page_comes_from_the_package_and_asks_nobody_else() -> None:
    with served() as feed:
        status, headers, body = get(feed, "/")
        assert status == 200
        assert (
            b'src="/static/main.js"' in body and b"<script>" not in body and b"style=" not in body
        )
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        for name in ("main.js", "page.css", "uplot/uPlot.esm.js", "uplot/LICENSE", "icon.svg"):
            assert get(feed, f"/static/{name}")[0] == 200
        assert get(feed, "/static/../page.py")[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example"])
def test_a_foreign_name_that_means_this_machine_is_refused(host: str) -> None:
    with served() as feed:
        assert get(feed, "/", Host=host)[0] == 403
        assert get(feed, "/", Host="localhost:1234")[0] == 200  # as through a tunnel


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_pages_of_others_get_nothing(origin: str) -> None:
    with served() as feed:
        assert get(feed, "/api/event?stream=synthetic&id=x", Origin=origin)[0] == 403
        assert refused(feed, origin=origin) == 403
        with live(feed, origin=feed.dashboard.address) as own:  # the page's own
            assert json.loads(own.recv(WAIT_S))["t"] == "hello"


def test_pictures_embedded_by_others_are_refused() -> None:
    with served() as feed:
        path = "/api/crop?stream=synthetic&id=x&name=apex_eye"
        assert get(feed, path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")[0] == 403
        assert get(feed, "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200


def test_without_the_token_nothing_is_told() -> None:
    with served(token=TOKEN) as feed:
        feed.event()
        for path in ("/", "/static/main.js", "/api/event?stream=synthetic&id=synthetic/0/0-0"):
            assert get(feed, path)[0] == 401
            assert get(feed, path, Authorization="Bearer wrong-wrong-wrong-wrong")[0] == 401
        assert get(feed, "/?token=wrong")[0] == 401
        assert refused(feed) == 403
        name = cookie_name(f"127.0.0.1:{port_of(feed)}")
        assert refused(feed, additional_headers={"Cookie": f"{name}={TOKEN}"}) == 403


def test_the_token_is_given_once_and_becomes_a_cookie() -> None:
    with served(token=TOKEN) as feed:
        status, headers, _ = get(feed, f"/?token={TOKEN}")
        assert (status, headers["location"]) == (303, "/")  # it leaves the address bar
        cookie, _, attributes = headers["set-cookie"].partition(";")
        assert "httponly" in attributes.lower() and "samesite=lax" in attributes.lower()
        assert TOKEN not in headers["set-cookie"]
        assert get(feed, "/", Cookie=cookie)[0] == 200
        assert get(feed, "/", Authorization=f"Bearer {TOKEN}")[0] == 200
        with live(feed, additional_headers={"Cookie": cookie}) as link:
            assert json.loads(link.recv(WAIT_S))["t"] == "hello"


@pytest.mark.parametrize("odd", ["a b=c", 'a={"x": 1}', "naïve=1", "=", "a[0]=1", ",;"])
def test_odd_cookies_beside_it_do_not_matter(odd: str) -> None:
    with served(token=TOKEN) as feed:
        cookie = get(feed, f"/?token={TOKEN}")[1]["set-cookie"].partition(";")[0]
        assert get(feed, "/", Cookie=f"{odd}; {cookie}; {odd}")[0] == 200
        assert get(feed, "/", Cookie=odd)[0] == 401


def test_two_pages_of_one_host_do_not_log_each_other_out() -> None:
    with served(token=TOKEN) as one, served(token="another-" + TOKEN) as two:
        jar = dict(
            get(feed, f"/?token={token}")[1]["set-cookie"].partition(";")[0].split("=", 1)
            for feed, token in ((one, TOKEN), (two, "another-" + TOKEN))
        )  # as a browser keeps them: by name
        cookie = "; ".join(f"{name}={value}" for name, value in jar.items())
        assert [get(feed, "/", Cookie=cookie)[0] for feed in (one, two)] == [200, 200]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "camera-room"])
def test_others_reach_it_with_a_token_only(host: str) -> None:
    with pytest.raises(KeysError, match=r"dashboard\.token"):
        Dashboard(settings(host=host).dashboard)
    with pytest.raises(KeysError, match="16 characters"):
        Dashboard(settings(host=host, token="short").dashboard)
    assert not settings(host=host, token=TOKEN).dashboard.pictures
    assert settings(host=host, token=TOKEN, images=True).dashboard.pictures


@pytest.mark.parametrize("passed_on", [True, False])
def test_behind_a_proxy_with_tls(passed_on: bool) -> None:
    origin = "https://lab.example"
    with served(token=TOKEN, origin=origin) as feed:
        host = "lab.example" if passed_on else f"127.0.0.1:{port_of(feed)}"
        assert get(feed, "/", Host=host)[0] == 401
        cookie, _, attributes = get(feed, f"/?token={TOKEN}", Host=host)[1]["set-cookie"].partition(
            ";"
        )
        assert "secure" in attributes.lower()
        asked = {"Host": host, "Cookie": cookie}
        assert get(feed, "/", **asked)[0] == 200
        assert get(feed, "/static/main.js", **asked, Origin=origin)[0] == 200
        assert _upgraded(feed, asked | {"Origin": origin}) == 101
        assert _upgraded(feed, {"Host": host, "Origin": origin}) == 403
        for other in ("https://evil.example", "https://lab.example:444", "null"):
            assert get(feed, "/static/main.js", **asked, Origin=other)[0] == 403
            assert _upgraded(feed, asked | {"Origin": other}) == 403


def _upgraded(feed: Feed, headers: dict[str, str]) -> int:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    lines = [f"{name}: {value}" for name, value in (headers | upgrade | key).items()]
    with socket.create_connection(("127.0.0.1", port_of(feed)), WAIT_S) as link:
        link.sendall("\r\n".join(["GET /live HTTP/1.1", *lines, "", ""]).encode())
        return int(link.recv(4096).split()[1])


def test_a_proxy_lets_others_in_so_their_rules_hold() -> None:
    with pytest.raises(KeysError, match=r"dashboard\.origin: https://lab\.example is reached"):
        Dashboard(settings(origin="https://lab.example").dashboard)
    assert not settings(origin="https://lab.example", token=TOKEN).dashboard.pictures
    with pytest.raises(ConfigError, match=r"dashboard\.origin"):
        settings(origin="https://lab.example/page")


def test_the_token_is_not_shown() -> None:
    config = settings(token=TOKEN)
    assert TOKEN not in repr(config) and TOKEN not in config.model_dump_json()


def test_an_occupied_port_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(AddressError, match=r"is occupied; choose another dashboard\.port"):
            Dashboard(settings(port=taken.getsockname()[1]).dashboard)


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UserError, match=r"pip install 'mespot\[page\]'"):
        Dashboard(settings().dashboard)


@pytest.mark.parametrize("images", [True, False])
def test_images_off_is_no_picture_at_all(images: bool) -> None:
    with served(images=images) as feed, live(feed) as link:
        link.send(json.dumps({"watch": "synthetic"}))
        event = feed.event()
        feed.crops(event.id)
        kinds, pictures = [], 0
        for _ in range(200):
            feed.picture()
            feed.rise()
            got = link.recv(WAIT_S)
            if isinstance(got, bytes):
                pictures += 1
            else:
                kinds.append(json.loads(got)["t"])
            if kinds.count("rises") > 10 and (pictures or not images):
                break
        assert kinds.count("rises") > 10
        assert (pictures > 0, "flow" in kinds) == (images, images)
        found = get(feed, f"/api/crop?stream=synthetic&id={event.id}&name=apex_eye")
        assert found[0] == (200 if images else 404)
        account = json.loads(get(feed, f"/api/event?stream=synthetic&id={event.id}")[2])
        assert (len(account["crops"]) == 6) == images


@pytest.mark.parametrize(
    "said",
    [
        b"",  # nothing at all
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",  # half a request
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET",  # half a second one
    ],
)
def test_who_asks_nothing_takes_nobody_s_place(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.dashboard.patience.ASK_S", 0.5)
    with served(token=TOKEN) as feed, contextlib.ExitStack() as stack, live_with_token(feed) as own:
        links = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port_of(feed)), WAIT_S))
            for _ in range(110)
        ]
        for link in links:
            link.sendall(said)
        for link in links:
            with contextlib.suppress(ConnectionResetError):
                while link.recv(4096):
                    pass
        assert get(feed, "/", Authorization=f"Bearer {TOKEN}")[0] == 200
        feed.event()
        told = [json.loads(own.recv(WAIT_S))["t"]]
        while told[-1] != "event":  # a browser that looks on is not cut
            told.append(json.loads(own.recv(WAIT_S))["t"])


def test_one_address_does_not_take_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.dashboard.patience._is_loopback", lambda host: False)
    with served(token=TOKEN) as feed, contextlib.ExitStack() as stack:
        links = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port_of(feed)), WAIT_S))
            for _ in range(MOST_OF_ONE + 1)
        ]
        with contextlib.suppress(ConnectionResetError):
            assert links[-1].recv(1) == b""  # cut
        links[0].sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert links[0].recv(12) == b"HTTP/1.1 401"
