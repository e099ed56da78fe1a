"""Signatures of what a version held when it was registered, by a key that the project's owner keeps.

Checksums tell damage. Who may write to the registry, such as a shared MLflow server's, can write other checksums too;
without the key nobody can sign them. Ed25519 (RFC 8032), by the library `cryptography`.
"""

import base64
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.core.errors import ToolError
from pipelines.core.files import write_whole

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TAG = "signature"


def make_key(private: Path, public: Path) -> None:
    """Make a pair of keys.

    Args:
        private: File to write, PKCS #8 in PEM, for its owner alone to read; its folder is made.
        public: File to write, in PEM: whoever has it can check signatures and make none.

    Raises:
        ToolError: If one of them is there already, for what was signed with it could not be checked any more.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    for file in (private, public):
        if file.exists():
            raise ToolError(f"{file} is there already", hint="put its other half beside it, from a safe place")
    key = Ed25519PrivateKey.generate()
    private.parent.mkdir(parents=True, exist_ok=True)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(secret)
    publish_key(private, public)


def publish_key(private: Path, public: Path) -> None:
    """Write the public half of a key, which follows from the private one.

    Args:
        private: File of the key.
        public: File to write, in PEM; one that is there is replaced.

    Raises:
        ToolError: If the private file holds no such key.
    """
    from cryptography.hazmat.primitives import serialization

    form = serialization.PublicFormat.SubjectPublicKeyInfo
    write_whole(public, _read_private(private).public_key().public_bytes(serialization.Encoding.PEM, form))


def sign(private: Path, surface: str, listed: str) -> str:
    """Sign a version's list of files.

    Args:
        private: File of the key.
        surface: That the version is registered under: signed for one, it is not signed for another.
        listed: SHA-256 of the list in hexadecimal, as `write_checksums` returns it.

    Returns:
        The signature, base64.

    Raises:
        ToolError: If the file holds no such key.
    """
    key = _read_private(private)
    return base64.b64encode(key.sign(_message(surface, listed))).decode("ascii")


def is_signed(public: Path, surface: str, listed: str, signature: str) -> bool:
    """Tell whether a signature is of this list and by this key.

    Args:
        public: File of the public key.
        surface: That the version is registered under.
        listed: SHA-256 of the list in hexadecimal, as the registry keeps it.
        signature: From `sign`; any text is no signature, and so is an empty one.

    Returns:
        False for what was signed for another surface, of other files, or by another key.

    Raises:
        ToolError: If the file holds no such key.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = serialization.load_pem_public_key(public.read_bytes())
    except ValueError as error:
        raise _no_key(public) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(public)
    try:
        key.verify(base64.b64decode(signature, validate=True), _message(surface, listed))
    except (InvalidSignature, ValueError):
        return False
    return True


def _read_private(file: Path) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    # A project that was copied follows the umask of whoever copied it. Some file systems know no modes.
    with suppress(OSError):
        file.chmod(0o600)
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise _no_key(file) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(file)
    return key


def _message(surface: str, listed: str) -> bytes:
    return f"knotwatch version\n{surface}\n{listed}".encode()


def _no_key(file: Path) -> ToolError:
    return ToolError(f"{file} holds no Ed25519 key in PEM", hint="put it back from git or from a safe place")
