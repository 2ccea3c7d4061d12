"""Clients that wait for their job with the connection open: one that leaves, cancels."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from pleinair.serve.job import CANCELLED, DONE, ENDED, Job
from pleinair.serve.jobs import Jobs
from pleinair.serve.refusals import STATUSES, Refused

OTHERS = {"shutting_down": 503, "worker_lost": 500, "internal": 500}


async def ended(jobs: Jobs, job: Job, request: Request) -> Job:
    """The job when it is done. Raises Refused where it failed or was cancelled, ClientDisconnect where nobody waits."""
    over, left = asyncio.ensure_future(job.over()), asyncio.ensure_future(gone(request))
    job.waiters += 1
    try:
        await asyncio.wait({over, left}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        job.waiters -= 1
        over.cancel()
        left.cancel()
        if job.status not in ENDED and not job.waiters:  # with one key, several may wait for one job
            await jobs.cancel(job)
    if job.status == DONE:
        return job
    if job.trouble:
        status = OTHERS.get(job.trouble.code) or STATUSES.get(job.trouble.code, 500)
        raise Refused(status, job.trouble.code, job.trouble.message, retry_after=5 if status == 503 else None)
    if job.status == CANCELLED and not left.done():
        raise Refused(409, "cancelled", "the job was cancelled; send it again")
    raise ClientDisconnect


async def gone(request: Request) -> None:
    """Return when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
