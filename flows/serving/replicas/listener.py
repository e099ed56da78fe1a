"""One listening socket that several processes take connections from."""

import socket
from typing import Any


class SharedListener(socket.socket):
    """Gives one connection each time that the event loop looks.

    asyncio takes in all that wait at once, up to its backlog: whichever replica looks first would have a whole burst,
    and the others nothing to do. What is left here wakes them.
    """

    _given = False

    def accept(self) -> tuple[socket.socket, Any]:
        """Take in a connection; every second call finds none, which ends the loop's look."""
        self._given = not self._given
        if not self._given:
            raise BlockingIOError
        try:
            return super().accept()
        except OSError:
            self._given = False
            raise
