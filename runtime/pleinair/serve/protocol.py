"""HTTP/1.1 as uvicorn speaks it, with a bound on idle connections and on heads that never end."""

from uvicorn.protocols.http.h11_impl import H11Protocol

from pleinair.serve.settings import RequestLimits


def bounded(limits: RequestLimits) -> type[H11Protocol]:
    """A protocol that closes a connection at once where there are too many, and one that asks for nothing in time."""

    class Bounded(H11Protocol):
        """uvicorn's own has a time limit between requests alone: not for the first, nor for half a head."""

        def connection_made(self, transport: object) -> None:
            if len(self.connections) >= limits.connections:
                transport.close()
                self.timer = None
                return
            super().connection_made(transport)
            self.timer = self.loop.call_later(limits.head_s, self._close_if_idle)

        def _close_if_idle(self) -> None:
            """Look again and again: the time of one request's head begins where the last answer ended."""
            if self.transport.is_closing():
                return
            busy = self.cycle is not None and not self.cycle.response_complete
            asked = self.cycle is not self._seen
            self._seen = self.cycle
            if busy or asked:
                self.timer = self.loop.call_later(limits.head_s, self._close_if_idle)
            else:
                self.transport.close()

        def connection_lost(self, error: Exception | None) -> None:
            if self.timer is None:
                return
            self.timer.cancel()
            super().connection_lost(error)

        _seen = None

    return Bounded
