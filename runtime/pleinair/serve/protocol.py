"""HTTP/1.1 as uvicorn speaks it, bounded: idle connections, heads that never end, and answers that nobody reads."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from h11 import LocalProtocolError
from uvicorn.protocols.http.h11_impl import H11Protocol

from pleinair.serve.peers import peer_of
from pleinair.serve.settings import RequestLimits

LEAST_READ = 16 << 10  # bytes of an answer that a client reads between two looks, where there are so many


def bounded(limits: RequestLimits) -> type[H11Protocol]:
    """A protocol that closes a connection where there are too many, and one that asks for nothing, or reads nothing of
    its answer, in time."""

    class Bounded(H11Protocol):
        """uvicorn's own has a time limit between requests alone: not for the first, nor for half a head."""

        def connection_made(self, transport: object) -> None:
            if not room_for_one(self.connections, limits.connections):
                transport.close()
                self.timer = None
                return
            super().connection_made(transport)
            self.resting = self.loop.time()
            self.timer = self.loop.call_later(limits.head_s, self._look)

        def _look(self) -> None:
            """Look again and again: the time of one request's head begins where the last answer ended."""
            unread, before = self.transport.get_write_buffer_size(), self._unread
            asked = self.cycle is not self._seen
            stuck = not self._drained and unread > before - LEAST_READ
            self._unread, self._seen, self._drained = unread, self.cycle, False
            if unread and before and not asked and stuck:
                self.transport.abort()
                return
            busy = self.cycle is not None and not self.cycle.response_complete
            if not (busy or asked or self.transport.is_closing()):
                self.transport.close()
            self.timer = self.loop.call_later(limits.head_s, self._look)

        def on_response_complete(self) -> None:
            """The connection rests until the next request."""
            self.resting = self.loop.time()
            super().on_response_complete()

        def resume_writing(self) -> None:
            """The client has read all but a little of what was written."""
            self._drained = True
            super().resume_writing()

        def send_400_response(self, message: str) -> None:
            """What breaks HTTP in the middle of a request is answered once, and ends what was begun for it."""
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            with suppress(LocalProtocolError):  # its answer has begun
                super().send_400_response(message)
            self.transport.close()

        def connection_lost(self, error: Exception | None) -> None:
            if self.timer is None:
                return
            self.timer.cancel()
            super().connection_lost(error)

        _seen, _unread, _drained = None, 0, False

    return Bounded


def room_for_one(connections: Iterable[Any], most: int) -> bool:
    """Whether there is room for one more connection, for which another one is closed where need be.

    That is one that asks for nothing, and has done so for the longest time, of the peer with the most of them.
    """
    there = [each for each in connections if not each.transport.is_closing()]
    if len(there) < most:
        return True
    idle = [each for each in there if rests(each)]
    if not idle:
        return False
    peers = Counter(peer_of(each.client[0]) for each in idle)
    crowd = [each for each in idle if peers[peer_of(each.client[0])] == max(peers.values())]
    min(crowd, key=lambda each: each.resting).transport.close()
    return True


def rests(connection: Any) -> bool:
    """Whether nothing is asked for, and all answers are with the client."""
    answered = connection.cycle is None or connection.cycle.response_complete
    return answered and not connection.transport.get_write_buffer_size()
