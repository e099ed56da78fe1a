"""Bodies on their way in: as large and as slow as is allowed, and no larger or slower."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request

from flows.serving.protocol import RequestError

# What must arrive within _WINDOW seconds: ten kilobytes a second, a tenth of the slowest line that a camera is on.
_LEAST = 100_000
_WINDOW = 10.0


async def read_body(request: Request, most: int, seconds: float, grow: Callable[[int], None]) -> bytes:
    """Read a body; a longer one is read to its end all the same, so that the answer arrives.

    Args:
        request: Whose body nobody has read from.
        most: Bytes that are kept, at most.
        seconds: Until all of it must have arrived; of a body that goes on, also 100,000 bytes every ten seconds.
        grow: Told the bytes of each chunk before it is kept; what it raises ends the reading.

    Returns:
        The body, of at most `most` bytes.

    Raises:
        RequestError: For a body that is too long (status 413), or too slow (408).
        ClientDisconnect: Starlette's, if the client is gone.
    """
    chunks: list[bytes] = []
    size = 0

    def take(chunk: bytes) -> None:
        nonlocal size
        size += len(chunk)
        if size <= most:
            grow(len(chunk))
            chunks.append(chunk)

    await _receive(request, seconds, take)
    if size > most:
        raise RequestError(f"the body has {size} bytes, at most {most} are taken", hint="send fewer images", status=413)
    return b"".join(chunks)


async def drain(request: Request, seconds: float) -> None:
    """Read what is left of a body and forget it, so that the answer arrives.

    Args:
        request: It may have been read from already.
        seconds: From now until the rest must have arrived.

    Raises:
        RequestError: For one that is too slow (status 408).
        ClientDisconnect: Starlette's, if the client is gone.
    """
    await _receive(request, seconds, lambda _: None)


async def _receive(request: Request, seconds: float, take: Callable[[bytes], None]) -> None:
    loop = asyncio.get_running_loop()
    until, fresh = loop.time() + seconds, 0
    try:
        async with asyncio.timeout_at(min(until, loop.time() + _WINDOW)) as window:
            async for chunk in request.stream():
                take(chunk)
                fresh += len(chunk)
                if fresh >= _LEAST:
                    fresh = 0
                    window.reschedule(min(until, loop.time() + _WINDOW))
    except TimeoutError as error:
        raise RequestError("the body did not arrive in time", hint="send it again, faster", status=408) from error
