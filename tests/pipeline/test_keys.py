from __future__ import annotations

import stat
from pathlib import Path

import pytest
import zmq
import zmq.auth
from hypothesis import given
from hypothesis import strategies as st

from pipeline import keys
from pipeline.cli import run
from pipeline.config import SecurityConfig, load
from pipeline.keys import KeyPair, KeysError


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "config" / "keys"


def test_the_first_client_brings_the_servers_keys_and_the_second_keeps_them(
    folder: Path, tmp_path: Path
) -> None:
    assert not keys.has_server(folder)
    anna = keys.load_client(keys.new(folder, "anna", tmp_path / "a.key"))
    server = keys.load_server(folder)
    ben = keys.load_client(keys.new(folder, "ben", tmp_path / "b.key"))
    assert anna.server == ben.server == server.public == keys.load_server(folder).public
    assert anna.pair.public != ben.pair.public
    assert zmq.curve_public(anna.pair.secret) == anna.pair.public


def test_private_keys_are_for_their_owner_alone(folder: Path, tmp_path: Path) -> None:
    path = keys.new(folder, "anna", tmp_path / "a.key")
    for file in (path, folder / keys.SERVER, folder / "clients" / "anna.key"):
        assert _mode(file) == 0o600
    for each in (folder, folder / "clients", folder / "revoked"):
        assert _mode(each) == 0o700
    listed = (folder / "clients" / "anna.key").read_text()
    assert keys.load_client(path).pair.secret.decode() not in listed


def test_pyzmq_reads_what_is_written(folder: Path, tmp_path: Path) -> None:
    path = keys.new(folder, "anna", tmp_path / "a.key")
    key = keys.load_client(path)
    assert zmq.auth.load_certificate(path) == (key.pair.public, key.pair.secret)
    assert zmq.auth.load_certificates(folder / "clients") == {key.pair.public: True}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_private_key_that_others_reach_is_refused(
    mode: int, folder: Path, tmp_path: Path
) -> None:
    path = keys.new(folder, "anna", tmp_path / "a.key")
    path.chmod(mode)
    (folder / keys.SERVER).chmod(mode)
    with pytest.raises(KeysError, match="chmod 600"):
        keys.load_client(path)
    with pytest.raises(KeysError, match="chmod 600"):
        keys.load_server(folder)


@pytest.mark.parametrize("which", [".", "clients"])
def test_a_list_that_others_can_write_is_refused(which: str, folder: Path, tmp_path: Path) -> None:
    keys.new(folder, "anna", tmp_path / "a.key")
    (folder / which).chmod(0o770)
    with pytest.raises(KeysError, match="chmod 700"):
        keys.load_server(folder)
    with pytest.raises(KeysError, match="chmod 700"):
        keys.new(folder, "ben", tmp_path / "b.key")


def test_nothing_is_overwritten(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    path.write_text("mine")
    with pytest.raises(KeysError, match="stays as it is"):
        keys.new(folder, "anna", path)
    assert path.read_text() == "mine"
    assert keys.clients(folder) == []
    keys.new(folder, "anna", tmp_path / "b.key")
    with pytest.raises(KeysError, match="has a key already"):
        keys.new(folder, "anna", tmp_path / "c.key")
    assert not (tmp_path / "c.key").exists()


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "a/b", "a b", "a.b", "-a", "a" * 65, "a\n", "ä"]
)
def test_a_name_is_no_path(name: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="a name has"):
        keys.new(folder, name, tmp_path / "x.key")
    with pytest.raises(KeysError, match="a name has"):
        keys.revoke(folder, name)
    assert not folder.exists()


def test_a_revoked_client_stays_in_the_list_and_may_get_a_new_key(
    folder: Path, tmp_path: Path
) -> None:
    first = keys.load_client(keys.new(folder, "anna", tmp_path / "a.key")).pair.public
    keys.revoke(folder, "anna")
    assert [(c.name, c.public, c.revoked) for c in keys.clients(folder)] == [("anna", first, True)]
    with pytest.raises(KeysError, match="no such client"):
        keys.revoke(folder, "anna")
    second = keys.load_client(keys.new(folder, "anna", tmp_path / "b.key")).pair.public
    assert [(c.public, c.revoked) for c in keys.clients(folder)] == [(second, False), (first, True)]


@given(st.binary(max_size=300))
def test_any_bytes_are_a_key_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    path = tmp_path_factory.mktemp("noise") / "x.key"
    path.write_bytes(noise)
    path.chmod(0o600)
    for load_it in (keys.load_client, keys.load_public):
        with pytest.raises(KeysError) as caught:
            load_it(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "broken", ["secret-key", "public-key", "server", "half"], ids=lambda text: text
)
def test_a_client_file_that_is_not_whole_is_refused(
    broken: str, folder: Path, tmp_path: Path
) -> None:
    path = keys.new(folder, "anna", tmp_path / "a.key")
    text = path.read_text()
    other = text.replace(broken, "x") if broken != "half" else text[: len(text) // 2]
    path.write_text(other)
    with pytest.raises(KeysError):
        keys.load_client(path)


def test_a_pair_that_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    path = keys.new(folder, "anna", tmp_path / "a.key")
    pair = keys.load_client(path).pair
    path.write_text(path.read_text().replace(pair.public.decode(), KeyPair.made().public.decode()))
    with pytest.raises(KeysError, match="fits"):
        keys.load_client(path)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.key"
    path.touch(0o600)
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(KeysError, match="not a key file"):
        keys.load_client(path)


def test_secrets_are_not_shown() -> None:
    pair = KeyPair.made()
    assert pair.secret.decode() not in repr(pair) + str(pair)


def test_the_folder_follows_xdg_and_can_be_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert SecurityConfig().folder == tmp_path / "mespot" / "keys"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert SecurityConfig().folder == Path.home() / ".config" / "mespot" / "keys"
    monkeypatch.setenv("MESPOT_SECURITY__KEYS", "/elsewhere")
    assert load().security.folder == Path("/elsewhere")


def test_the_command_line_makes_lists_and_revokes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    assert run(["keys", "list"]) == 0
    assert "no clients" in capsys.readouterr().out
    assert run(["keys", "new", "anna"]) == 0
    secret = keys.load_client(tmp_path / "anna.key").pair.secret.decode()
    assert secret not in capsys.readouterr().out
    assert run(["keys", "new", "anna"]) == 7
    assert run(["keys", "revoke", "anna"]) == 0
    assert run(["keys", "revoke", "../anna"]) == 7
    assert run(["keys", "list"]) == 0
    shown = capsys.readouterr()
    assert "anna" in shown.out and "revoked" in shown.out
    assert shown.err.count("mespot: ") == 2 and "Traceback" not in shown.err


def test_a_wrong_key_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["subscribe", "--key", str(tmp_path / "none.key")]) == 7
    assert capsys.readouterr().err.startswith(f"mespot: {tmp_path}")
