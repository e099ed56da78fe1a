"""Connections that several processes share: one a look, so that nobody takes all."""

import socket

import pytest

from flows.serving.replicas.listener import SharedListener


def test_a_burst_is_taken_in_one_by_one() -> None:
    with SharedListener() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(2)]
        taken = []
        for _ in clients:
            taken.append(listener.accept()[0])
            with pytest.raises(BlockingIOError):
                listener.accept()
        for _ in range(2):
            with pytest.raises(BlockingIOError):
                listener.accept()
        late = socket.create_connection(listener.getsockname())
        taken.append(listener.accept()[0])
        assert {one.getpeername() for one in taken} == {one.getsockname() for one in (*clients, late)}
        for one in (*taken, *clients, late):
            one.close()
