"""/metrics for Prometheus: jobs, refusals, painting processes and memory, without a word of what was asked for."""

from collections.abc import Awaitable, Callable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from pleinair.serve.asking import PREPARE, TASKS
from pleinair.serve.counts import INTERFACES
from pleinair.serve.job import ENDED
from pleinair.serve.jobs import Jobs
from pleinair.system.limits import memory_left
from pleinair.version import __version__


class ServerCollector(Collector):
    """What a server has done, and holds, when it is asked."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def collect(self) -> Iterator[Metric]:
        """The families; counters begin at 0 for all labels that are known before."""
        jobs, counts = self._jobs, self._jobs.counts
        yield InfoMetricFamily("pleinair", "The version that runs.", {"version": __version__})
        accepted = CounterMetricFamily("pleinair_jobs_accepted", "Jobs accepted.", labels=("interface", "task"))
        ended = CounterMetricFamily("pleinair_jobs_ended", "Jobs that are over.", labels=("interface", "status"))
        for interface in INTERFACES:
            for task in (*TASKS, PREPARE):
                accepted.add_metric((interface, task), counts.accepted[interface, task])
            for status in ENDED:
                ended.add_metric((interface, status), counts.ended[interface, status])
        yield accepted
        yield ended
        refused = CounterMetricFamily("pleinair_requests_refused", "Requests that were refused.", labels=("code",))
        for code, number in sorted(counts.refused.items()):
            refused.add_metric((code,), number)
        yield refused
        yield CounterMetricFamily("pleinair_pictures", "Pictures painted.", counts.pictures)
        yield CounterMetricFamily(
            "pleinair_painting_seconds", "Seconds between beginnings and ends of jobs.", counts.painting_s
        )
        yield CounterMetricFamily("pleinair_worker_restarts", "Painting processes started anew.", counts.restarts)
        yield GaugeMetricFamily("pleinair_jobs_queued", "Jobs that wait.", jobs.length)
        yield GaugeMetricFamily("pleinair_jobs_running", "Jobs that are painted.", len(jobs.running))
        yield GaugeMetricFamily("pleinair_results_kept", "Ended jobs whose pictures are kept.", jobs.kept)
        yield GaugeMetricFamily("pleinair_results_bytes", "Bytes of pictures that are kept.", jobs.kept_bytes)
        yield GaugeMetricFamily(
            "pleinair_journal_owed", "Jobs whose last change is not on disk yet.", len(jobs.journal.owed)
        )
        held = GaugeMetricFamily(
            "pleinair_worker_memory_bytes", "Anonymous memory of a painting process.", labels=("worker",)
        )
        for number, bytes in enumerate(jobs.held()):
            held.add_metric((str(number),), bytes)
        yield held
        if (left := memory_left()) is not None:
            yield GaugeMetricFamily("pleinair_memory_left_bytes", "Memory that is still available.", left)


def registry_of(jobs: Jobs) -> CollectorRegistry:
    """The server's families, and those of its process (process_resident_memory_bytes, process_open_fds)."""
    registry = CollectorRegistry()
    registry.register(ServerCollector(jobs))
    ProcessCollector(registry=registry)
    return registry


def answering(jobs: Jobs) -> Callable[[Request], Awaitable[Response]]:
    """What answers GET /metrics, as text or as OpenMetrics, whichever is asked for."""
    registry = registry_of(jobs)

    async def metrics(request: Request) -> Response:
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": kind})

    return metrics
