"""Where images come from and where verdicts go: addresses as a person writes them, checked before anything starts."""

import os
from pathlib import Path
from urllib.parse import quote, urlsplit

from pydantic import Field

from pipelines.core.errors import CallError
from pipelines.core.records import Record

_SOURCES = "folder:PATH, video:FILE, camera:0, rtsp://HOST/PATH or http://HOST/PATH"
_SINKS = "mqtt://HOST/TOPIC, mqtts://HOST/TOPIC, https://HOST/PATH, folder:PATH"
_LOCAL = ("127.0.0.1", "localhost", "::1")
_PORTS = {"mqtt": 1883, "mqtts": 8883, "http": 80, "https": 443}
USER, PASSWORD, KEY = "KNOTWATCH_MQTT_USER", "KNOTWATCH_MQTT_PASSWORD", "KNOTWATCH_WEBHOOK_KEY"
CAMERA_USER, CAMERA_PASSWORD = "KNOTWATCH_CAMERA_USER", "KNOTWATCH_CAMERA_PASSWORD"


class SinkAddress(Record):
    """One sink. `text` is the address as it was given, which holds no secret; `path` is a folder, a topic or a URL."""

    text: str
    kind: str
    host: str = ""
    port: int = 0
    path: str = ""


class SourceAddress(Record):
    """A source. `text` is the address as it was given, which holds no secret; `opened` is what is opened, which may."""

    text: str
    kind: str
    opened: str = Field(repr=False)


def read_source(text: str) -> SourceAddress:
    """Read where images come from.

    Args:
        text: An address. A camera's user and password do not belong into it.

    Returns:
        Its parts.

    Raises:
        CallError: If it is no address that is known, holds a password, or names no folder or file that is there.
    """
    kind, _, rest = text.partition(":")
    path = Path(rest).expanduser().absolute()
    if kind == "folder" and rest:
        if not path.is_dir():
            raise CallError(f"{path} is not a folder", hint="name the folder that the camera writes into")
        return SourceAddress(text=text, kind=kind, opened=str(path))
    if kind == "video" and rest:
        if not path.is_file():
            raise CallError(f"{path} is not a file", hint="name a video")
        return SourceAddress(text=text, kind=kind, opened=str(path))
    if kind == "camera" and rest.isdecimal():
        return SourceAddress(text=text, kind=kind, opened=rest)
    if kind not in {"rtsp", "rtsps", "http", "https"}:
        raise CallError(f"{text!r} is no source that is known", hint=f"give {_SOURCES}")
    return _read_stream(text, kind)


def _read_stream(text: str, kind: str) -> SourceAddress:
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise CallError(f"a source is no address: {error}", hint=f"give {_SOURCES}") from error
    if not parts.hostname:
        raise CallError(f"{text!r} names no host", hint=f"give {_SOURCES}")
    if parts.username or parts.password:
        raise CallError(
            f"an address of {parts.hostname} holds a user or a password, which processes and logs would show",
            hint=f"set {CAMERA_USER} and {CAMERA_PASSWORD} in the environment",
        )
    opened = text
    if user := secret(CAMERA_USER):
        account = f"{quote(user, safe='')}:{quote(secret(CAMERA_PASSWORD), safe='')}"
        opened = parts._replace(netloc=f"{account}@{parts.netloc}").geturl()
    return SourceAddress(text=text, kind=kind, opened=opened)


def read_sink(text: str) -> SinkAddress:
    """Read where verdicts go.

    Args:
        text: An address. Secrets do not belong into it, because processes and logs show it.

    Returns:
        Its parts.

    Raises:
        CallError: If it is no address that is known, holds a password, would send verdicts over the network unprotected
            by HTTP, or is to run a command.
    """
    kind, _, rest = text.partition(":")
    if kind == "exec":
        raise CallError("a line runs no commands", hint=f"have a program subscribe to one of {_SINKS}")
    if kind == "folder" and rest:
        return SinkAddress(text=text, kind=kind, path=str(Path(rest).expanduser().absolute()))
    try:
        parts = urlsplit(text)
        port = parts.port or _PORTS.get(kind, 0)
    except ValueError as error:
        raise CallError(f"{text!r} is no address: {error}", hint=f"give {_SINKS}") from error
    if kind not in _PORTS or not parts.hostname:
        raise CallError(f"{text!r} is no sink that is known", hint=f"give {_SINKS}")
    if parts.username or parts.password:
        raise CallError(
            f"an address to {parts.hostname} holds a user or a password, which processes and logs would show",
            hint=f"set {USER} and {PASSWORD} in the environment",
        )
    if kind == "http" and parts.hostname not in _LOCAL:
        raise CallError(f"{text} would send verdicts unprotected", hint="use https://, or a receiver on this machine")
    if kind.startswith("mqtt"):
        topic = parts.path.strip("/")
        if not topic or set(text) & set("+#?"):
            raise CallError(f"{text} names no topic", hint="give one such as mqtt://broker/line1/boards")
        return SinkAddress(text=text, kind=kind, host=parts.hostname, port=port, path=topic)
    return SinkAddress(text=text, kind=kind, host=parts.hostname, port=port, path=text)


def secret(name: str) -> str:
    """Return a secret of the environment: the variable NAME, or what the file holds that NAME_FILE names.

    Args:
        name: Of the variable.

    Returns:
        The secret without white space around it; empty where neither is set.

    Raises:
        CallError: If the file cannot be read.
    """
    if file := os.environ.get(f"{name}_FILE"):
        try:
            return Path(file).read_text("utf-8").strip()
        except OSError as error:
            raise CallError(
                f"{name}_FILE: {file} cannot be read ({error.strerror})", hint="name a readable file"
            ) from error
    return os.environ.get(name, "").strip()
