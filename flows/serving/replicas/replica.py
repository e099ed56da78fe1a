"""One replica: a process that serves on a socket which it was given, and tells by standard output how it goes."""

import json
import logging
import os
import sys
from collections.abc import Sequence
from threading import Thread

from flows.local_servers.process import end_with_parent
from flows.runtime.ending import watch_over_end
from flows.runtime.environment import LOGGERS, log_to_terminal
from flows.serving.replicas.listener import SharedListener
from flows.serving.replicas.supervisor import Told
from pipelines.core.errors import KnotwatchError
from pipelines.core.paths import find_project
from pipelines.core.progress import remember_interrupts


def main() -> None:
    """Serve as the first line of standard input says, until a signal or the supervisor's end."""
    watch_over_end()
    remember_interrupts()
    told = Told.model_validate_json(sys.stdin.buffer.readline())
    Thread(target=end_with_parent, daemon=True).start()
    _keep_to_own_cores(told.number, told.replicas)
    log_to_terminal()
    for handler in (handler for name in LOGGERS for handler in logging.getLogger(name).handlers):
        handler.setFormatter(logging.Formatter(f"%(asctime)s replica {told.number}: %(message)s", "%H:%M:%S"))
    try:
        _serve(told)
    except KnotwatchError as error:
        _say({"problem": error.problem, "hint": error.hint, "exit_code": error.exit_code})
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        # Told to stop while it was still loading.
        sys.exit(0)


def _serve(told: Told) -> None:
    from flows.serving.server import serve_on

    def ready(names: Sequence[str]) -> None:
        _say({"names": list(names)})

    with SharedListener(fileno=told.listener) as listener:
        serve_on(find_project(), told.surfaces, told.limits, listener, ready, told.token)


def _say(what: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _keep_to_own_cores(number: int, replicas: int) -> None:
    """Keep to this replica's share of the cores: each computes on all that it may use, and would wait for the others.

    Of more replicas than cores, some share one.
    """
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[number::replicas] or [cores[number % len(cores)]])


if __name__ == "__main__":
    main()
