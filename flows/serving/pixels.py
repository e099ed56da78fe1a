"""How large a request's images may be when they are decoded: a file of 32 KB may hold 200 megapixels."""

from collections.abc import Iterator, Sequence

from flows.serving.protocol import Limits, RequestError
from pipelines.imaging.decoding import read_pixels

_TIMES = 16  # the largest image that was trained on: four times as many pixels along each side
_MOST = 50.0  # megapixels; also where a version does not say what it was trained on
_REQUEST = 4  # times the largest image: 64 of the usual ones


def check_pixels(images: Sequence[bytes], usual_pixels: int | None, limits: Limits) -> Iterator[int]:
    """Yield each image's pixels, read from its head and not decoded.

    Args:
        images: Encoded, as files are.
        usual_pixels: Of the largest image that was trained on; None where the version does not say.
        limits: `megapixels` of one image, by default 16 times the usual ones and at most 50; `request_megapixels` of
            all together, by default four times that.

    Yields:
        Pixels of each image, in order; images after the first that is refused are not looked at.

    Raises:
        ImageError: For one that is no image.
        RequestError: For one that is too large, and where they are too large together (status 413).
    """
    most = limits.megapixels or min(_MOST, _TIMES * (usual_pixels or float("inf")) / 1e6)
    most_together = limits.request_megapixels or _REQUEST * most
    total = 0
    for row, data in enumerate(images):
        pixels = read_pixels(data)
        total += pixels
        if pixels > most * 1e6:
            raise _too_large(f"row {row}: {pixels / 1e6:.6g} megapixels, at most {most:.6g} are taken", "--most-mp")
        if total > most_together * 1e6:
            raise _too_large(
                f"row {row}: {total / 1e6:.6g} megapixels so far, at most {most_together:.6g} are taken in one request",
                "--most-request-mp",
            )
        yield pixels


def _too_large(problem: str, option: str) -> RequestError:
    hint = f"send smaller or fewer images, or start the server with a higher {option}"
    return RequestError(problem, hint=hint, status=413)
