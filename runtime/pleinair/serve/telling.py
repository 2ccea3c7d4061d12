"""What a painter says of a job, told to those who follow it."""

import base64
import logging
from collections.abc import Sequence
from typing import Any

from pleinair.checks import one_line
from pleinair.serve.guards import place_of
from pleinair.serve.job import CANCELLED, DONE, ENDED, FAILED, FinishedPicture, Job
from pleinair.serve.jobs import Jobs
from pleinair.serve.refusals import Trouble

log = logging.getLogger(__name__)


async def pass_on(jobs: Jobs, job: Job, message: dict[str, Any], blobs: Sequence[bytes]) -> bool:
    """Tell of one event; True at the end of the job. Raises KeyError, IndexError and TypeError for another form."""
    match message.get("event"):
        case "loading":
            job.load(one_line(message["what"], 200))
        case "step":
            shown = {"preview": base64.b64encode(blobs[0]).decode()} if blobs else {}
            job.advance(message["step"], message["steps"], seeds=message["seeds"], **shown)
        case "image":
            facts = {name: message[name] for name in ("seed", "width", "height", "settings")}
            job.add(FinishedPicture(blobs[0], **facts))
        case "warning":
            job.warn(message["message"])
        case "done":
            await jobs.end(job, DONE)
            return True
        case "cancelled":
            await jobs.end(job, CANCELLED)
            return True
        case "failed":
            for place in message.get("trace", ()):
                log.error("job %s: %s", job.id, one_line(place, 300))
            await jobs.end(job, FAILED, Trouble(message["code"], message["message"]))
            return True
    return False


async def tell_bug(jobs: Jobs, job: Job, error: Exception) -> None:
    """End a job that a bug has stopped, whose message may hold a prompt: the log has only its place."""
    log.error("job %s: %s", job.id, place_of(error))
    if job.status not in ENDED:
        message = f"a bug stopped job {job.id}; see the server's log, and report it"
        await jobs.end(job, FAILED, Trouble("internal", message))
