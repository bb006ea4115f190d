"""Key files: the server's pair, a file for each client, and the list of those let in.

The folder (0700) holds ``server.key_secret``, ``clients/NAME.key`` (public keys that are let
in) and ``revoked/NAME.key``. All are certificates as pyzmq writes and reads them.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import zmq
import zmq.auth
from zmq.utils import z85

from models.errors import UserError

SERVER = "server.key_secret"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SERVER_KEY = re.compile(r'^\s*server\s*=\s*"([^"]{40})"\s*$', re.M)
_LARGEST = 64 * 1024  # bytes of a key file


class KeysError(UserError):
    """A key is missing, malformed, or open to others; or an address needs one."""

    exit_code = 7


@dataclass(frozen=True)
class KeyPair:
    """A CURVE pair, Z85 text; the secret is never shown."""

    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def made(cls) -> KeyPair:
        """A new pair."""
        return cls(*zmq.curve_keypair())


@dataclass(frozen=True)
class ClientKey:
    """What a client needs: its pair, and the server's public key."""

    pair: KeyPair
    server: bytes


@dataclass(frozen=True)
class Client:
    """A client that is, or was, let in."""

    name: str
    public: bytes
    since: datetime  # UTC; of its making, or of its revocation
    revoked: bool


def has_server(folder: Path) -> bool:
    """Whether the server has keys in ``folder``."""
    return os.path.lexists(folder / SERVER)


def load_server(folder: Path) -> KeyPair:
    """The server's pair.

    Raises:
        KeysError: missing, malformed or open to others; so is the list of clients.
    """
    for writable in (folder, folder / "clients"):
        _refuse(writable, 0o022, "others can put keys into it; chmod 700 it")
    return _load_pair(folder / SERVER)


def load_client(path: Path) -> ClientKey:
    """The file that ``mespot keys new`` made for a client.

    Raises:
        KeysError: missing, malformed or open to others.
    """
    pair = _load_pair(path)
    found = _SERVER_KEY.search(_text(path))
    if found is None or not _is_key(found[1].encode()):
        raise KeysError(f"{path}: the server's public key is missing; ask for a new file")
    return ClientKey(pair, found[1].encode())


def new(folder: Path, name: str, out: Path | None = None) -> Path:
    """Let a client called ``name`` in; the file that it needs, written to ``out``.

    The first one makes the server's pair.

    Args:
        out: default: ``NAME.key`` in the current folder; never overwritten.

    Raises:
        KeysError: the name is no name or taken, ``out`` exists, a folder cannot be written.
    """
    _check_name(name)
    path = Path(f"{name}.key") if out is None else out
    listed = folder / "clients" / f"{name}.key"
    _make(folder)
    if os.path.lexists(listed):
        raise KeysError(f"{name}: has a key already; revoke it first, or take another name")
    server = _server(folder)
    pair = KeyPair.made()
    _write(path, _certificate(f"client {name}: keep it secret", pair, server.public))
    try:
        _write(listed, _certificate(f"client {name}: public key", pair, public_only=True))
    except KeysError:
        path.unlink()
        raise
    return path


def revoke(folder: Path, name: str) -> None:
    """Let the client called ``name`` in no more.

    Raises:
        KeysError: there is no such client.
    """
    _check_name(name)
    old = folder / "revoked" / f"{name}.key"
    try:
        (folder / "clients" / f"{name}.key").replace(old)
        os.utime(old)
    except FileNotFoundError:
        raise KeysError(f"{name}: no such client; mespot keys list") from None
    except OSError as error:
        raise KeysError(f"{error.filename}: cannot be written: {error.strerror}") from None


def clients(folder: Path) -> list[Client]:
    """All clients by name, those let in first.

    Raises:
        KeysError: the folder cannot be read, or holds a file that is no key.
    """
    found = []
    for revoked in (False, True):
        for path in _files(folder / ("revoked" if revoked else "clients")):
            since = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            found.append(Client(path.stem, load_public(path), since, revoked))
    return found


def load_public(path: Path) -> bytes:
    """The public key in a certificate.

    Raises:
        KeysError: there is none.
    """
    return _load(path)[0]


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".key")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise KeysError(f"{folder}: cannot be read: {error.strerror}") from None


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise KeysError(f"{name!r}: a name has letters, digits, - and _, 64 at most")


def _make(folder: Path) -> None:
    for each in (folder, folder / "clients", folder / "revoked"):
        try:
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise KeysError(f"{each}: cannot be made: {error.strerror}") from None
        _refuse(each, 0o077, "others can look into it; chmod 700 it")


def _server(folder: Path) -> KeyPair:
    if not has_server(folder):
        _write(folder / SERVER, _certificate("server: keep it secret", KeyPair.made()))
    return load_server(folder)


def _certificate(
    title: str, pair: KeyPair, server: bytes | None = None, public_only: bool = False
) -> str:
    lines = [f"# mespot, {title}", "metadata"]
    lines += [f'    made = "{datetime.now(UTC).isoformat(timespec="seconds")}"']
    lines += [f'    server = "{server.decode()}"'] if server else []
    lines += ["curve", f'    public-key = "{pair.public.decode()}"']
    lines += [] if public_only else [f'    secret-key = "{pair.secret.decode()}"']
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    """A new file, 0600."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
    except FileExistsError:
        raise KeysError(f"{path}: exists, and stays as it is") from None
    except OSError as error:
        raise KeysError(f"{path}: cannot be written: {error.strerror}") from None


def _refuse(path: Path, bits: int, why: str) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise KeysError(f"{path}: cannot be read: {error.strerror}") from None
    if stat.S_IMODE(mode) & bits:
        raise KeysError(f"{path}: {why}")


def _load_pair(path: Path) -> KeyPair:
    _refuse(path, 0o077, "a private key that others can read; chmod 600 it")
    public, secret = _load(path)
    if secret is None or not _is_key(secret) or zmq.curve_public(secret) != public:
        raise KeysError(f"{path}: holds no private key that fits its public one")
    return KeyPair(public, secret)


def _load(path: Path) -> tuple[bytes, bytes | None]:
    _text(path)
    try:
        public, secret = zmq.auth.load_certificate(path)
    except (OSError, ValueError, IndexError):
        raise KeysError(f"{path}: not a key file") from None
    if not _is_key(public):
        raise KeysError(f"{path}: not a key file")
    return public, secret


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise KeysError(f"{path}: not a key file")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise KeysError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise KeysError(f"{path}: not a key file") from None


def _is_key(text: bytes) -> bool:
    try:
        return len(text) == 40 and len(z85.decode(text)) == 32
    except (ValueError, KeyError, struct.error):
        return False
