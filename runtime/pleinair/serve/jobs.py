"""All jobs of a server: a bounded queue, how long it takes, and what is kept of jobs that have ended."""

import asyncio
import itertools
import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from pleinair.serve.counts import OWN, Counts
from pleinair.serve.job import CANCELLED, DONE, ENDED, FAILED, QUEUED, Job, JobSpec
from pleinair.serve.journal_writer import BROKEN, JournalWriter
from pleinair.serve.refusals import Refused, Trouble
from pleinair.serve.settings import ServeSettings

MOST_ATTEMPTS = 2  # a job that was begun this often, and never ended, is what ends the server
LONGEST_RETRY_S = 120  # OpenAI's client does not retry at all where it is told to wait longer
UNKNOWN_WAIT_S = 30.0
TROUBLED_RETRY_S = 30.0  # until a full disk, or a process that does not start, is worth another question
SMOOTHING = 0.3  # share that the last job has in a model's pace
MOST_KEYS = 1000  # idempotency keys that are remembered, or as many as jobs are kept
log = logging.getLogger(__name__)


class Jobs:
    """The queue and what came of it; all of it is for the event loop's thread."""

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.running: dict[str, Job] = {}
        self.kept_bytes = 0  # of ended jobs
        self.closing = False
        self.unable = ""  # why nothing can be painted, where that is so
        self.counts = Counts()
        self.held: Callable[[], list[int]] = list  # bytes of each painting process, set by what starts them
        self.journal = JournalWriter(settings.journal)
        self._coming = 0  # accepted, but not written down yet
        self._queue: deque[Job] = deque()
        self._ended: OrderedDict[str, Job] = OrderedDict()
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._keys: OrderedDict[str, tuple[str, Job]] = OrderedDict()
        self._one_key = asyncio.Lock()  # the same key may come twice while its job is written down
        self._pace: dict[str, float] = {}  # seconds for a pixel's step, by model
        self._news = asyncio.Event()

    async def open(self) -> None:
        """Take up what a server before this one has accepted and not ended."""
        try:
            left, gone = await self.journal.open()
        except BROKEN as error:
            raise Refused(
                503,
                "journal_unreadable",
                f"the journal of jobs '{self.settings.journal}' cannot be used ({error}); free space, move the file"
                " away, or serve with --no-journal",
            ) from None
        self._gone = OrderedDict.fromkeys(gone)
        for each in left:
            job = Job(each.spec, each.id, each.attempts)
            if each.attempts >= MOST_ATTEMPTS:
                again = f"the server ended each of the {each.attempts} times it was started; try a smaller picture"
                await self.end(job, FAILED, Trouble("interrupted", again))
            else:
                self._enqueue(job)
            if each.key:
                self._remember(each.key, each.digest or "", job)
        if left:
            log.info("%d jobs from before the restart are resumed", len(left))

    async def submit(
        self, spec: JobSpec, key: str | None = None, digest: str = "", interface: str = OWN
    ) -> tuple[Job, bool]:
        """A job in the queue, and whether it is new: with the `key` of an earlier request it is the job of that one.

        `digest` is the same for the same request. Raises Refused: a full queue (429), a server that is ending or cannot
        keep a promise (503), a key that another request has used (409).
        """
        if not key:
            return await self._accepted(Job(spec, interface=interface)), True
        async with self._one_key:
            if known := self._keys.get(key):
                if known[0] != digest:
                    raise Refused(
                        409, "idempotency_conflict", "this Idempotency-Key was used for another job; choose a new one"
                    )
                return known[1], False
            job = await self._accepted(Job(spec, interface=interface), key, digest)
            self._remember(key, digest, job)
            return job, True

    async def next(self) -> Job:
        """The next job to paint, begun; waits for one."""
        while self.closing or not self._queue:
            self._news.clear()
            await self._news.wait()
        job = self._queue.popleft()
        job.begin()
        self.running[job.id] = job
        if self.journal.keeps(job.spec):
            await self.journal.begun(job.id, job.attempts)
        self._tell_places()
        return job

    async def end(self, job: Job, status: str, trouble: Trouble | None = None) -> None:
        """A job is over: done, failed or cancelled."""
        self.running.pop(job.id, None)
        if job in self._queue:
            self._queue.remove(job)
        job.end(status, trouble)
        self._ended[job.id] = job
        self.kept_bytes += job.size
        self._count(job)
        if status == CANCELLED and not job.spec.kept:
            self._forget(job)  # whoever asks again, with the same key, wants it painted
        if status == DONE and job.began:
            self._learn(job)
        spent = f" after {job.ended - job.began:.1f} s" if job.began else ""
        log.info("job %s %s%s%s", job.id, status, spent, f" ({trouble.code})" if trouble else "")
        if self.journal.keeps(job.spec):
            await self.journal.ended(job.id, self.settings.keeping.names)
        self.tidy()
        self._tell_places()

    async def put_back(self, job: Job) -> None:
        """Have a running job wait again, before all others, as if it had not been begun."""
        if job.cancelling:
            await self.end(job, CANCELLED)
            return
        self.running.pop(job.id)
        job.requeue()
        self._queue.appendleft(job)
        self._news.set()
        if self.journal.keeps(job.spec):
            await self.journal.begun(job.id, job.attempts)
        self._tell_places()

    async def put_down(self) -> None:
        """Leave what has not ended to the server that comes after this one, but for jobs that somebody waits for."""
        for job in list(self.running.values()):
            await self.put_back(job)
        for job in [job for job in self._queue if not self.journal.keeps(job.spec)]:
            await self.end(job, FAILED, Trouble("shutting_down", "the server is shutting down; try again in a moment"))
        await self.journal.settle()  # whoever was writing may have been cancelled

    async def cancel(self, job: Job) -> None:
        """End a job: at once where it waits, within a step where it is painted. Refused (409) if it has ended."""
        if job.status in ENDED:
            raise Refused(409, "job_ended", f"the job is already {job.status}; send a new one")
        job.cancelling = True
        if job.status == QUEUED:
            await self.end(job, CANCELLED)
            return
        if job.stop:
            job.stop()
        if self.journal.keeps(job.spec):  # so that it is not painted after a restart either
            await self.journal.ended(job.id, self.settings.keeping.names)

    def find(self, id: str) -> Job:
        """The job of an id. Raises Refused: one that never was (404), or whose time is over (410)."""
        self.tidy()
        job = self.running.get(id) or self._ended.get(id) or next((job for job in self._queue if job.id == id), None)
        if job:
            return job
        if id in self._gone:
            raise Refused(410, "job_expired", "the job's pictures are no longer kept; paint them again")
        raise Refused(404, "job_unknown", "there is no such job; use an id that POST /api/v1/jobs returned")

    def tidy(self) -> None:
        """Let ended jobs go that are too old, too many or too large; the last one stays whatever its size."""
        keeping, now = self.settings.keeping, time.monotonic()
        while self._ended:
            job = next(iter(self._ended.values()))
            old = now - job.ended > keeping.seconds
            large = self.kept_bytes > keeping.bytes and len(self._ended) > 1
            if not (old or large or len(self._ended) > keeping.jobs):
                return
            del self._ended[job.id]
            self.kept_bytes -= job.size
            self._gone[job.id] = None
            while len(self._gone) > keeping.names:
                self._gone.popitem(last=False)
            self._forget(job)

    @property
    def kept(self) -> int:
        """Ended jobs that are kept."""
        return len(self._ended)

    @property
    def length(self) -> int:
        """Jobs that wait."""
        return len(self._queue)

    def position(self, job: Job) -> int | None:
        """How many jobs stand before one that waits, and it; None where it does not wait."""
        return self._queue.index(job) + 1 if job.status == QUEUED and job in self._queue else None

    def expected_wait(self, job: Job | None = None) -> float | None:
        """Seconds until a job (None: the next that comes) begins; None where no job of its kind has been painted."""
        if job is not None and job.status != QUEUED:
            return 0.0
        if len(self.running) < self.settings.workers and not self._queue:
            return 0.0
        before = itertools.takewhile(lambda each: each is not job, self._queue)
        return self._shared(sum(map(self._left, self.running.values())) + sum(map(self._guess, before)))

    def wait_for_room(self) -> float:
        """Seconds after which a client that was turned away may ask again."""
        known = [each for each in map(self._left, self.running.values()) if not math.isnan(each)]
        return float(min(LONGEST_RETRY_S, max(1, math.ceil(min(known, default=UNKNOWN_WAIT_S)))))

    def close(self) -> None:
        """Accept and begin no more jobs; what waits stays in the journal."""
        self.closing = True
        self._news.set()

    def _enqueue(self, job: Job) -> None:
        self._queue.append(job)
        job.tell(QUEUED, position=len(self._queue), expected_wait_s=self.expected_wait(job))
        self._news.set()

    def _tell_places(self) -> None:
        seconds = sum(map(self._left, self.running.values()))
        for place, job in enumerate(self._queue, 1):
            job.tell(QUEUED, position=place, expected_wait_s=self._shared(seconds))
            seconds += self._guess(job)

    def _shared(self, seconds: float) -> float | None:
        """Seconds of work, with all painting processes at it; None where they are unknown."""
        return None if math.isnan(seconds) else round(seconds / self.settings.workers, 1)

    def _left(self, job: Job) -> float:
        """Seconds that a running job still takes; NaN where nothing is known of its kind."""
        return self._guess(job) if job.eta_s is None else job.eta_s

    def _guess(self, job: Job) -> float:
        return self._pace.get(job.spec.model, math.nan) * job.spec.work

    def _learn(self, job: Job) -> None:
        pace = (job.ended - job.began) / max(1, job.spec.work)
        before = self._pace.get(job.spec.model, pace)
        self._pace[job.spec.model] = SMOOTHING * pace + (1 - SMOOTHING) * before

    def _remember(self, key: str, digest: str, job: Job) -> None:
        job.key = key
        self._keys[key] = digest, job
        while len(self._keys) > max(MOST_KEYS, self.settings.keeping.jobs):
            self._keys.popitem(last=False)

    def _forget(self, job: Job) -> None:
        """Let its key go, for another job."""
        if job.key and self._keys.get(job.key, ("", None))[1] is job:
            del self._keys[job.key]

    def _count(self, job: Job) -> None:
        self.counts.ended[job.interface, job.status] += 1
        self.counts.pictures += len(job.pictures)
        self.counts.painting_s += job.ended - job.began if job.began else 0.0

    async def _accepted(self, job: Job, key: str | None = None, digest: str | None = None) -> Job:
        """A job in the queue, written down before."""
        self._check_open()
        if self.journal.keeps(job.spec):
            self._coming += 1
            try:
                await self.journal.promise(job.id, job.spec, key, digest)
            except BROKEN as error:
                log.error("job %s is refused, because the journal cannot be written: %s", job.id, error)
                raise Refused(
                    503,
                    "journal_full",
                    "the job cannot be saved, so it is not accepted; free space on the server's disk, or"
                    " serve with --no-journal",
                    retry_after=TROUBLED_RETRY_S,
                ) from None
            finally:
                self._coming -= 1
        self.counts.accepted[job.interface, job.spec.task] += 1
        self._enqueue(job)
        log.info("job %s accepted: %s with %s", job.id, job.spec.task, job.spec.model)
        if self.settings.log_prompts:
            for prompt in job.spec.prompts:
                log.info("job %s: %s", job.id, prompt)
        return job

    def _check_open(self) -> None:
        """Raise Refused where no further job is taken."""
        if self.closing:
            raise Refused(503, "shutting_down", "the server is shutting down; try again in a moment", retry_after=5)
        if self.unable:
            down = f"no painting process starts ({self.unable}); see the server's log"
            raise Refused(503, "painter_down", down, retry_after=TROUBLED_RETRY_S)
        limits, held = self.settings.limits, sum(each.size for each in self._queue)
        if len(self._queue) + self._coming >= limits.queue or held > limits.bodies:
            wait = self.wait_for_room()
            full = f"{len(self._queue)} jobs with {held / 1e6:.0f} MB are waiting already; ask again in {wait:.0f} s"
            raise Refused(429, "queue_full", full, retry_after=wait)
