"""Bodies on their way in: as large and as slow as is allowed, and no larger or slower."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request

from flows.serving.protocol import RequestError

# What must arrive within _WINDOW seconds: ten kilobytes a second, a tenth of the slowest line that a camera is on.
_LEAST = 100_000
_WINDOW = 10.0


async def read_body(request: Request, most: int, seconds: float, grow: Callable[[int], None]) -> bytes:
    """Read a body of at most `most` bytes; a longer one is read to its end all the same, so that the answer arrives.

    Raises:
        RequestError: for one that is too long, too slow or not there after `seconds`.
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
    """Read what is left of a body and forget it, so that the answer arrives; raise RequestError as `read_body`."""
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
