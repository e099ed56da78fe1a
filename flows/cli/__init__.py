"""The command line. Heavy libraries are imported by the commands that need them."""

import os
import sys


def main() -> None:
    """Run `knotwatch`; its exit codes are 0 done, 1 failed, 2 wrong call, 3 a gate said no, 130 Ctrl-C, 143 SIGTERM."""
    from flows.cli.app import run
    from flows.local_servers.lost import is_prefect_lost
    from flows.runtime.ending import watch_over_end

    watch_over_end()
    code = run(sys.argv[1:])
    if is_prefect_lost():
        # At an orderly end, Prefect would go on for minutes to tell a server that is gone what there is to tell.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
