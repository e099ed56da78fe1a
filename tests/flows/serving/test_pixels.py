"""How large images may be, without a word from the user: by what the version was trained on."""

import io

import pytest
from PIL import Image

from flows.serving.pixels import check_pixels
from flows.serving.protocol import Limits, RequestError
from pipelines.core.errors import ImageError


def draw(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("usual", "limits", "taken", "refused"),
    [
        (100 * 50, Limits(), (400, 200), (401, 200)),
        # Never more than 50 megapixels, also where an older version does not say what it was trained on.
        (4000 * 3000, Limits(), (10_000, 5_000), (10_001, 5_000)),
        (None, Limits(), (10_000, 5_000), (10_001, 5_000)),
        (100 * 50, Limits(megapixels=100.0), (10_000, 10_000), (10_001, 10_000)),
    ],
)
def test_an_image_may_have_sixteen_times_the_pixels(
    usual: int | None, limits: Limits, taken: tuple[int, int], refused: tuple[int, int]
) -> None:
    assert list(check_pixels([draw(*taken)], usual, limits)) == [taken[0] * taken[1]]
    with pytest.raises(RequestError, match=r"(?s)row 1: .* at most .* --most-mp") as error:
        list(check_pixels([draw(*taken), draw(*refused)], usual, limits))
    assert error.value.status == 413


def test_a_request_may_have_four_of_the_largest() -> None:
    largest = draw(400, 200)
    assert len(list(check_pixels([largest] * 4, 100 * 50, Limits()))) == 4
    with pytest.raises(RequestError, match=r"(?s)row 4: 0\.320001 megapixels .* --most-request-mp"):
        list(check_pixels([largest] * 4 + [draw(1, 1)], 100 * 50, Limits()))
    assert len(list(check_pixels([largest] * 5, 100 * 50, Limits(request_megapixels=0.4)))) == 5


def test_what_is_no_image_is_told_from_what_is_too_large() -> None:
    with pytest.raises(ImageError, match="not an image"):
        list(check_pixels([b"no image"], 100 * 50, Limits()))
