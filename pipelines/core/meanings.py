"""What each setting means, and YAML that says so above every key."""

import functools
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

_WIDTH = 110


@functools.cache
def read_meanings() -> Mapping[str, str]:
    """Read what each setting means, by its dotted key."""
    found: dict[str, str] = yaml.safe_load(Path(__file__).with_name("meanings.yaml").read_text("utf-8"))
    return found


def explain_yaml(values: Mapping[str, Any], meanings: Mapping[str, str]) -> str:
    """Write settings as YAML with a comment above each key that has a meaning.

    Args:
        values: Of what YAML knows; nested mappings are sections.
        meanings: By dotted key.

    Returns:
        A text that reads back as `values`.

    >>> print(explain_yaml({"gate": {"ratio": 1.5}}, {"gate.ratio": "Largest ratio."}), end="")
    gate:
      # Largest ratio.
      ratio: 1.5
    """
    return "".join(f"{line}\n" for line in _lines(values, meanings, ""))


def _lines(values: Mapping[str, Any], meanings: Mapping[str, str], prefix: str) -> Iterator[str]:
    for key, value in values.items():
        for line in textwrap.wrap(meanings.get(f"{prefix}{key}", ""), _WIDTH):
            yield f"# {line}"
        if isinstance(value, Mapping) and value:
            yield yaml.safe_dump({key: {}}).removesuffix(" {}\n")
            yield from (f"  {line}" for line in _lines(value, meanings, f"{prefix}{key}."))
        else:
            yield from yaml.safe_dump({key: value}, sort_keys=False).splitlines()
