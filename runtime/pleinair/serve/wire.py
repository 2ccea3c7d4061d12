"""What the server and a painting process say to each other: JSON with bytes behind it, over pipes.

    4 bytes    length of the JSON, big-endian
    JSON       an object; "sizes" has the lengths of the blobs
    blobs      pictures

Nothing is unpickled: a painting process runs graphs that strangers made.
"""

import asyncio
import json
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

HEAD = struct.Struct(">I")
MAX_JSON = 64 << 20
MAX_BLOB = 512 << 20
Message = tuple[dict[str, Any], list[bytes]]


def packed(message: dict[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
    """A message as it goes over the pipe."""
    text = json.dumps({**message, "sizes": [len(each) for each in blobs]}).encode()
    return b"".join([HEAD.pack(len(text)), text, *blobs])


async def receive(stream: asyncio.StreamReader) -> Message:
    """The next message; EOFError where the other side is gone or does not keep to the form."""
    try:
        (length,) = HEAD.unpack(await stream.readexactly(HEAD.size))
        message = checked(await stream.readexactly(bounded(length, MAX_JSON)))
        return message, [await stream.readexactly(size) for size in message["sizes"]]
    except asyncio.IncompleteReadError:
        raise EOFError("the other side is gone") from None


def read(stream: BinaryIO) -> Message:
    """The same in a thread of its own."""
    (length,) = HEAD.unpack(exactly(stream, HEAD.size))
    message = checked(exactly(stream, bounded(length, MAX_JSON)))
    return message, [exactly(stream, size) for size in message["sizes"]]


def exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError("the other side is gone")
    return data


def bounded(length: int, most: int) -> int:
    if not 0 <= length <= most:
        raise EOFError("the other side does not keep to the form")
    return length


def checked(text: bytes) -> dict[str, Any]:
    try:
        message = json.loads(text)
        for size in message["sizes"]:
            bounded(size, MAX_BLOB)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise EOFError("the other side does not keep to the form") from None
    return message
