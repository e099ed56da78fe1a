"""A page is looked at when it shows what it loads, not after a number of seconds."""

from pathlib import Path

from tests.chromium import Tab

_LATE = """<body><script>
let step = 0;
const timer = setInterval(() => {
  document.body.append(++step < 4 ? "." : "all is there");
  if (step === 4) clearInterval(timer);
}, 200);
setInterval(() => document.title = Date.now(), 50);
</script><p id="clock">1</p><script>
let second = 0;
setInterval(() => clock.textContent = ++second, 50);
</script>"""


def test_a_page_has_settled_when_it_changes_no_more_but_for_its_clock(tab: Tab, tmp_path: Path) -> None:
    page = tmp_path / "late.html"
    page.write_text(_LATE)
    tab.open(page)
    assert tab.settle(still=0.6)
    assert "all is there" in tab.evaluate("document.body.innerText")
    page.write_text("<body><script>setInterval(() => document.body.append('x'), 20)</script>")
    tab.open(page)
    assert not tab.settle(still=0.6, patience=1.5)
