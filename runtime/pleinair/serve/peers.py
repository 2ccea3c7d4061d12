"""Room for requests: how many are in progress, of all clients and of each, so that none keeps the others out."""

import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pleinair.serve.refusals import Refused
from pleinair.serve.settings import RequestLimits

RETRY_S = 5.0  # until a request that found no place is worth another try
NETWORK = 64  # bits of an IPv6 address that one client cannot choose
LOOPBACK, UNKNOWN = "loopback", "unknown"


class RequestPlaces:
    """The requests in progress. One that waits for pictures, or follows events, keeps its place for minutes."""

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._taken: Counter[str] = Counter()  # by peer

    @contextmanager
    def one_for(self, host: str) -> Iterator[None]:
        """A place for a request from an address. Raises Refused where it has too many (429), or all together (503)."""
        peer, limits = peer_of(host), self._limits
        if self._taken[peer] >= limits.of_one:
            much = f"{limits.of_one} requests from your address are in progress; let some of them end"
            raise Refused(429, "too_many_requests", much, retry_after=RETRY_S)
        if self._taken.total() >= max(1, limits.connections - limits.reserved):
            raise Refused(503, "busy", "too many requests are in progress; try again soon", retry_after=RETRY_S)
        self._taken[peer] += 1
        try:
            yield
        finally:
            self._taken[peer] -= 1
            if not self._taken[peer]:
                del self._taken[peer]


def peer_of(host: str) -> str:
    """What is taken for one client: an IPv4 address, an IPv6 network, or this machine."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return UNKNOWN
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback:
        return LOOPBACK
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, NETWORK), strict=False))
