"""Verdicts as HTTP requests, signed so that the receiver can tell who sent them."""

import hashlib
import hmac
import json
import time

import httpx

from flows.line.journal import Kept
from flows.line.sinks.sink import AwayError

_SECONDS = 10.0
_MOST_TOLD = 200  # characters of an answer that are logged


class WebhookSink:
    """Posts each verdict as JSON to one address; an answer of 200 to 299 says that it was taken."""

    def __init__(self, url: str, key: str) -> None:
        """Post to an address.

        Args:
            url: https://, or http:// on this machine. Redirects are not followed.
            key: Signs each request where it is not empty: `X-Knotwatch-Signature: sha256=HEX`, the HMAC of the header
                `X-Knotwatch-Time`, a dot and the body.
        """
        self.name, self._key = url, key
        self._client = httpx.Client(timeout=_SECONDS, follow_redirects=False, trust_env=False)

    def send(self, kept: Kept) -> None:
        body, now = kept.body.encode(), str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "X-Knotwatch-Id": str(json.loads(kept.body)["id"]),
            "X-Knotwatch-Time": now,
        }
        if self._key:
            headers["X-Knotwatch-Signature"] = "sha256=" + sign(self._key, now, body)
        try:
            # What the receiver says besides is not waited for: an answer may be endless, or unpack to gigabytes.
            with self._client.stream("POST", self.name, content=body, headers=headers) as answer:
                told = "" if answer.is_success else _begin(answer)
        except httpx.HTTPError as error:
            raise AwayError(f"{self.name} does not answer: {error}", hint="mend it: nothing is lost") from error
        if not answer.is_success:
            raise AwayError(f"{self.name} answered {answer.status_code}: {told!r}", hint="mend it: nothing is lost")

    def beat(self, *, alive: bool) -> None:
        """Do nothing: the receiver asks for no heartbeat."""

    def close(self) -> None:
        self._client.close()


def _begin(answer: httpx.Response) -> str:
    return next(answer.iter_raw(), b"")[:_MOST_TOLD].decode("utf-8", "replace")


def sign(key: str, when: str, body: bytes) -> str:
    """Compute what the header of a request must hold.

    Args:
        key: Shared with the receiver.
        when: Seconds since 1970, as the header `X-Knotwatch-Time` has it; a receiver refuses old ones.
        body: The request's bytes.

    Returns:
        HMAC-SHA256 in hexadecimal.

    >>> sign("key", "0", b"{}")[:8]
    '7314351d'
    """
    return hmac.new(key.encode(), when.encode() + b"." + body, hashlib.sha256).hexdigest()
