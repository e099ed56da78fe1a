"""One browser for all tests of pages."""

from collections.abc import Iterator

import pytest

from tests.chromium import Tab, open_chromium


@pytest.fixture(scope="package")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with open_chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened
