"""Whether a stored version loads and gives its reference tiles' scores again, seen in a process of its own.

A damaged network can end the process that loads it, or never come to an end.
"""

import subprocess
import sys
from pathlib import Path

from pipelines.decision import Finding
from pipelines.errors import KnotwatchError
from pipelines.loader import Detector

_LONGEST = 180.0  # seconds; loading takes 2 on a quiet machine
_SAID = 600  # characters


def reproduce(folder: Path, registered: str = "", seconds: float = _LONGEST) -> Finding:
    """Have a fresh process load a model folder and score its reference tiles; it is ended after `seconds`.

    `registered` is the registry's checksum of the folder's list of checksums, empty where it keeps none.
    """
    command = [sys.executable, "-m", "pipelines.reproduce", str(folder), registered]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        return Finding(ok=False, words=f"it did not load and score its reference tiles within {seconds:g} seconds")
    said = (done.stdout.strip() or done.stderr.strip().rpartition("\n")[2])[:_SAID]
    return Finding(ok=done.returncode == 0, words=said or f"the process ended with {done.returncode}")


def _main(folder: Path, registered: str) -> int:
    try:
        detector = Detector(folder, registered=registered)
        if not detector.info.references:
            print("it stores no reference tiles")  # noqa: T201 - read by `reproduce`
            return 1
        detector.check_references()
    except (KnotwatchError, OSError) as error:
        print(getattr(error, "problem", error))  # noqa: T201 - read by `reproduce`
        return 1
    print(f"loaded and reproduced {len(detector.info.references)} reference tiles")  # noqa: T201 - read by `reproduce`
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), sys.argv[2]))
