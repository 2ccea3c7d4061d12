"""Connections that ask for nothing, or too slowly, on a real socket."""

import asyncio
import contextlib
import socket
from dataclasses import replace

import pytest
import uvicorn

from pleinair.serve.protocol import bounded
from pleinair.serve.serving import Server, listening
from serving import LIMITS, application

HEAD_S, BODY_S = 0.3, 0.4
LARGE = 24 << 20  # bytes
PATIENCE = 30  # seconds until a test gives up


async def large(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": bytes(LARGE)})


@contextlib.asynccontextmanager
async def listener(index, **limits):
    """The port of a server that is short of patience; /api/v1/large is more than any buffer holds."""
    found = replace(LIMITS, **{"head_s": HEAD_S, "body_s": BODY_S, **limits})
    inner, _ = application(index, limits=found)

    async def app(scope, receive, send):
        await (large if scope["path"] == "/api/v1/large" else inner)(scope, receive, send)

    place = listening("127.0.0.1", 0)
    config = uvicorn.Config(app, http=bounded(found), log_config=None, lifespan="off", timeout_keep_alive=60)
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[place]))
    try:
        yield place.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


async def said(port, *parts, pause=0.0):
    """All that a server answers to these bytes, until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    with contextlib.suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        async with asyncio.timeout(PATIENCE):
            while more := await reader.read(1000):
                answer += more
    writer.close()
    return answer


HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = (
    b"POST /api/v1/tokens HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
)


@pytest.mark.parametrize(
    "parts, pause, begins",
    [
        ([], 0, b""),  # says nothing
        ([b"GET /hea"], 0, b""),  # never ends its head
        ([bytes([each]) for each in HEALTH], 0.05, b""),  # a byte now and then
        ([HEALTH], 0, b"HTTP/1.1 200"),  # asks once, and stays
        ([POST, b'{"prompt"'], 0, b"HTTP/1.1 408"),  # never ends its body
    ],
)
def test_idle_and_slow_connections_are_closed(index, parts, pause, begins):
    async def work():
        async with listener(index) as port:
            return await said(port, *parts, pause=pause)

    answer = asyncio.run(work())
    assert answer.startswith(begins) and (begins or answer == b"")


def test_a_connection_may_ask_again_and_again(index):
    async def work():
        async with listener(index) as port:
            return await said(port, *[HEALTH] * 8, pause=HEAD_S / 4)

    assert asyncio.run(work()).count(b"HTTP/1.1 200") == 8


def test_a_body_that_breaks_http_is_refused_once_and_is_no_bug(index, caplog):
    head = POST.replace(b"Content-Length: 99", b"Transfer-Encoding: chunked")

    async def work():
        async with listener(index) as port:
            return await said(port, head, b"no chunk\r\n", pause=0.05)

    answer = asyncio.run(work())
    assert answer.count(b"HTTP/1.1") == 1 and answer.startswith(b"HTTP/1.1 400")
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


@pytest.mark.parametrize("repeated", [1, 3])
def test_a_client_that_reads_nothing_is_let_go(index, repeated):
    async def work():
        async with listener(index) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /api/v1/large HTTP/1.1\r\nHost: localhost\r\n\r\n" * repeated)
            await asyncio.sleep(HEAD_S * 4)  # more than its buffers hold is not asked for meanwhile
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(PATIENCE):
                    return len(await reader.read())
            return 0

    assert asyncio.run(work()) < LARGE


def test_a_slow_reader_of_a_large_answer_holds_little_memory_and_is_not_let_go(index):
    """Whoever reads on is served to the end, and what is not read yet does not lie in the connection's buffer."""
    kept = bytes(LARGE)

    async def work():
        from pleinair.serve.guards import Answering

        async def app(scope, receive, send):
            answering = Answering(send, "0")
            await answering({"type": "http.response.start", "status": 200, "headers": []})
            await answering({"type": "http.response.body", "body": kept})

        found = replace(LIMITS, head_s=HEAD_S)
        place = listening("127.0.0.1", 0)
        server = Server(uvicorn.Config(app, http=bounded(found), log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[place]))
        reader, writer = await asyncio.open_connection("127.0.0.1", place.getsockname()[1], limit=1 << 20)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        size, most, until = 0, 0, asyncio.get_running_loop().time() + HEAD_S * 5
        while size < LARGE:
            size += len(await reader.read(1 << 20))
            for held in server.server_state.connections:
                most = max(most, held.transport.get_write_buffer_size())
                option = held.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert option, "a small answer would wait 40 ms for the client's acknowledgement"
            if asyncio.get_running_loop().time() < until:
                await asyncio.sleep(HEAD_S / 4)
        writer.close()
        server.should_exit = True
        await serving
        return size, most

    size, most = asyncio.run(work())
    assert size >= LARGE and most <= 1 << 18


def test_an_idle_connection_makes_way_for_a_new_one(index):
    async def work():
        async with listener(index, connections=2, head_s=PATIENCE) as port:
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            await asyncio.sleep(0.05)
            held[0][1].write(HEALTH)  # so that the other one has rested longer
            await held[0][0].read(15)
            answering = asyncio.create_task(said(port, HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
            async with asyncio.timeout(PATIENCE):
                closed = await held[1][0].read()
            for _, writer in held:
                writer.close()
            return closed, await answering

    closed, answered = asyncio.run(work())
    assert closed == b"" and answered.startswith(b"HTTP/1.1 200")


def test_connections_are_bounded_where_all_are_in_use_and_a_place_is_free_again(index):
    async def work():
        async with listener(index, connections=2, reserved=0) as port:
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            for _, writer in held:
                writer.write(POST)
            await asyncio.sleep(0.05)
            refused = await said(port, HEALTH)
            for _, writer in held:
                writer.close()
            await asyncio.sleep(0.05)
            return refused, await said(port, HEALTH)

    refused, answered = asyncio.run(work())
    assert refused == b"" and answered.startswith(b"HTTP/1.1 200")


def test_streams_of_one_client_leave_room_for_others_and_for_health(index):
    """Of 8 connections it may use 3, and all together 6; each is held by events of a job that never ends."""
    from serving import spec

    async def never(jobs):
        await asyncio.sleep(0)

    async def work():
        found = replace(LIMITS, connections=8, reserved=2, of_one=3)
        app, jobs = application(index, never, limits=found)
        job, _ = await jobs.submit(spec())
        place = listening("127.0.0.1", 0)
        config = uvicorn.Config(app, http=bounded(found), log_config=None, lifespan="off")
        server = Server(config)
        serving = asyncio.create_task(server.serve(sockets=[place]))
        statuses, writers = [], []

        async def ask(path, client):
            reader, writer = await asyncio.open_connection("127.0.0.1", place.getsockname()[1])
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {client}\r\n\r\n"
            writer.write(head.encode())
            async with asyncio.timeout(PATIENCE):
                statuses.append(int((await reader.read(12)).split()[1]))
            writers.append(writer)

        for client in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
            for _ in range(4):
                await ask(f"/api/v1/jobs/{job.id}/events", client)
        await ask("/health", "192.0.2.1")
        writers[0].close()
        await asyncio.sleep(0.05)
        await ask(f"/api/v1/jobs/{job.id}", "192.0.2.1")
        for writer in writers:
            writer.close()
        server.should_exit = True
        await serving
        return statuses

    assert asyncio.run(work()) == [*[200] * 3, 429, *[200] * 3, 429, *[503] * 4, 200, 200]


@pytest.mark.parametrize(
    "host, peer",
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("127.0.0.9", "loopback"),
        ("::1", "loopback"),
        ("no address", "unknown"),
    ],
)
def test_addresses_that_one_client_can_choose_from_are_one(host, peer):
    from pleinair.serve.peers import peer_of

    assert peer_of(host) == peer
