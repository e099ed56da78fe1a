"""The command line. Heavy libraries are imported by the commands that need them."""

import sys


def main() -> None:
    """Run `knotwatch`; its exit codes are 0 done, 1 failed, 2 wrong call, 3 a gate said no, 130 Ctrl-C, 143 SIGTERM."""
    from flows.cli.app import run
    from flows.runtime.ending import watch_over_end

    watch_over_end()
    sys.exit(run(sys.argv[1:]))
