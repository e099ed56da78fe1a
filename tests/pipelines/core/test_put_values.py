"""Values come into a YAML that a person wrote, and nothing else of it changes."""

from typing import Any

import pytest
import yaml

from pipelines.core.settings import put_values

WRITTEN = """\
# my boards
source:
  layout: folder  # as mvtec
train:
  # the champion is PaDiM
  algorithms: [padim]   # quick to train
  padim:
    layers:
    - 1
    - 2
    ridge: 0.3 # as before
    # the last word

# of use
policy:
  propose: auto
"""


@pytest.mark.parametrize(
    ("text", "values", "kept"),
    [
        (WRITTEN, {"train": {"padim": {"ridge": 0.5, "layers": [2, 3], "features": 64}}}, 7),
        (WRITTEN, {"train": {"fastflow": {"batch": 4}, "padim": {"score": {"top_share": 0.01}}}}, 7),
        (WRITTEN, {"region": {"rule": "none"}}, 7),
        ("train: {}\n# end", {"train": {"padim": {"ridge": 1e-05}}}, 1),
        (
            "train:\npolicy: {a: 1}  # one\n",
            {"train": {"padim": {"gaussian": "auto"}}, "policy": {"b": {"c": True}}},
            1,
        ),
        ("a: 1", {"train": {"padim": {"ridge": 0.5}}}, 0),
        ("a: |\n  text\n  more\n", {"b": 2}, 0),
        ("", {"train": {"padim": {"ridge": 0.5}}}, 0),
        ("{a: {b: 1}}\n", {"c": 2}, 0),
    ],
)
def test_values_are_laid_on_what_is_there_and_comments_stay(text: str, values: dict[str, Any], kept: int) -> None:
    def lay(base: Any, over: Any) -> Any:
        if not (isinstance(base, dict) and isinstance(over, dict)):
            return over
        return {**base, **{key: lay(base.get(key), value) for key, value in over.items()}}

    found = put_values(text, values)
    assert yaml.safe_load(found) == lay(yaml.safe_load(text) or {}, values)
    assert found.count("#") == kept
    assert put_values(found, values) == found, "once more changes nothing"
    lost = [line for line in text.splitlines() if line.startswith("#") and line not in found.splitlines()]
    assert lost == []
