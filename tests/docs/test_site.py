"""The documentation: it builds without a warning, loads nothing from outside, and its links lead somewhere."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What a browser loads by itself when it opens a page; an <a> it follows only when it is told to.
LOADED = {
    "img": "src",
    "script": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
}
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


class Loads(HTMLParser):
    """Collect what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        value = dict(attrs).get(LOADED.get(tag, ""))
        if value:
            self.found.append(value)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning of Sphinx's (a broken link, a page that nothing leads to) ends the build."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-E", "-W", "--keep-going", "-q", "-b", "html", "docs", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return out


def test_no_page_loads_anything_from_outside(site: Path) -> None:
    """Everything that a page or a style sheet loads lies in the site."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        reader = Loads()
        reader.feed(page.read_text(encoding="utf-8"))
        outside = [found for found in reader.found if re.match(r"(\w+:)?//", found)]
        assert not outside, f"{page.name} loads {outside}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(\w+:)?//", style.read_text(encoding="utf-8")), style


def test_every_setting_is_on_its_page(site: Path) -> None:
    """A setting deep in a section, and one of a surface, stand on the page with the default that the code has."""
    page = re.sub(r"<[^>]+>", " ", (site / "reference" / "settings.html").read_text(encoding="utf-8"))
    words = " ".join(page.split())
    assert re.search(r" padim\.score\.top_share (?!padim).{,300}; default 0\.005 ", words)
    assert re.search(r" policy\.gate\.max_latency_ratio (?!policy).{,300}; default 1\.5 ", words)


def test_readme_is_short_and_its_links_lead_somewhere() -> None:
    """A newcomer reads all of the README; its links work on a code host, anchors included."""
    assert len((ROOT / "README.md").read_bytes()) <= 10_240
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        links = [a or b for a, b in LINK.findall(page.read_text(encoding="utf-8"))]
        assert links
        for link in links:
            path, _, anchor = link.partition("#")
            target = ROOT / path
            assert target.is_file(), f"{page.name}: {link} leads nowhere"
            assert not anchor or anchor in _anchors(target), f"{page.name}: {link} names no heading"


def _anchors(page: Path) -> set[str]:
    """Return the anchors that a code host gives a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
