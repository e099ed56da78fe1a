"""A server of the user's own that is not there, or not yet."""

import socket
import time
from threading import Timer

import pytest

from pipelines.core.errors import ToolError
from pipelines.tracking.connection import await_server


def test_a_server_that_is_not_there_is_named_soon_and_one_that_is_late_is_waited_for() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(ToolError, match=f"MLflow at {place} does not answer"):
            await_server(f"http://me:secret@{place}", 0.0)
        assert time.monotonic() - started < 5
        late = Timer(0.3, listener.listen)
        late.start()
        await_server(f"http://{place}/mlflow", 30.0)
        late.join()
    await_server("databricks", 0.0)
