"""Draw boards into a folder, as a stand-in for your own photos: python docs/examples/draw_boards.py FOLDER."""

import argparse
import random
from pathlib import Path

from PIL import Image

from pipelines.imaging.procedural import WOOD_DEFECTS, draw


def main() -> None:
    """Draw `good/` and `bad/` into the folder; with --flat all into one, as photos of a day lie."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--good", type=int, default=60, help="boards without a defect")
    parser.add_argument("--bad", type=int, default=16, help="boards with one")
    parser.add_argument("--seed", type=int, default=1, help="another seed draws other boards")
    parser.add_argument("--flat", action="store_true", help="no subfolders")
    asked = parser.parse_args()
    kinds, dice = list(WOOD_DEFECTS.values()), random.Random(asked.seed)  # noqa: S311 - nothing is to be kept secret
    for label, count in (("good", asked.good), ("bad", asked.bad)):
        folder = asked.folder if asked.flat else asked.folder / label
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            defects = (kinds[number % len(kinds)],) if label == "bad" else ()
            board = draw("wood", dice.randrange(2**32), 128, 256, defects)
            Image.fromarray(board.image).save(folder / f"{label}-{asked.seed}-{number:03d}.png")
    print(f"{asked.folder}: {asked.good} good and {asked.bad} bad boards")  # noqa: T201 - a program for people


if __name__ == "__main__":
    main()
