"""Units on a dask cluster: processes of this computer, or a scheduler's workers."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import queue
import signal
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_stsr.errors import InputError, RunError
from napari_stsr.evaluation.bench import Bench, in_words
from napari_stsr.evaluation.fingerprint import slide_fingerprint
from napari_stsr.evaluation.opening import Copy, Opening
from napari_stsr.evaluation.outcome import Outcome
from napari_stsr.evaluation.plan import EvaluationPlan, Unit
from napari_stsr.training.progress import CancelToken, Progress, outcome

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

    from napari_stsr.evaluation.running import Tally

_TICK_S = 0.2
# Numeric libraries would each take all cores.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True, eq=False)
class Work:
    """All that a worker needs besides the unit.

    Parameters
    ----------
    plan : EvaluationPlan
    opening : Opening or Copy
    of_slide : str
        Fingerprint of the restricted slide: a worker that opens something else says so.
    """

    plan: EvaluationPlan
    opening: Opening | Copy
    of_slide: str


# The last bench of this worker: units of one slide come one after another.
_bench: dict[str, Bench] = {}


def worked(work: Work, unit: Unit) -> Outcome:
    """Work one unit in a worker; what goes wrong becomes words."""
    try:
        return outcome(_bench_of(work).working(unit, CancelToken()))
    except Exception as error:
        return _failed(unit, in_words(error))


def _bench_of(work: Work) -> Bench:
    key = f"{work.of_slide} {work.plan.described()}"
    if key not in _bench:
        _bench.clear()
        restricted = work.plan.restricted(work.opening.open())
        if slide_fingerprint(restricted) != work.of_slide:
            raise RunError(
                "A worker opened another slide than the one to evaluate.",
                "Say how the slide was opened (image, bin size, µm per px).",
            )
        _bench[key] = Bench(work.plan, restricted)
    return _bench[key]


def _failed(unit: Unit, words: str) -> Outcome:
    return Outcome(unit.protocol, unit.fold, unit.contender.key, "failed", words)


def spreading(
    work: Work, tally: Tally, cancel: CancelToken, jobs: int, scheduler: str | None
) -> Generator[Progress, None, None]:
    """Work the waiting units on a cluster; each is kept as soon as it is finished.

    A unit whose worker dies is worked again by another, up to three times.
    """
    total, ended = len(tally.units), queue.SimpleQueue[Any]()
    yield Progress("starting workers", 0, 1, tally.done / total)
    cancel.check()
    with _client(min(jobs, len(tally.waiting)), scheduler) as client:
        futures: dict[Any, tuple[int, Any]] = {}
        for number in tally.waiting:
            unit = tally.units[number]
            # In order, so that a worker goes on with the fold it has at hand.
            future = client.submit(
                worked, work, unit, key=f"{unit} {id(tally):x}", pure=False, priority=-number
            )
            futures[future.key] = (number, future)
            future.add_done_callback(ended.put)
            del future
        stage = "waiting for workers"
        while futures:
            cancel.check()
            workers = len(client.scheduler_info(n_workers=-1)["workers"])
            at_once = max(1, workers)
            with contextlib.suppress(queue.Empty):
                key = ended.get(timeout=_TICK_S).key
                number = futures[key][0]
                stage = str(tally.units[number])
                # A future that is still held would be worked again if its worker died.
                tally.finish(number, _result(tally.units[number], futures.pop(key)[1]))
            left = tally.left_s(at_once=at_once)
            alone = not workers and scheduler is not None
            doing = "waiting: no worker has joined the scheduler" if alone else stage
            yield Progress(doing, tally.done, total, tally.done / total, {}, left)


def _result(unit: Unit, future: Any) -> Outcome:
    from distributed import KilledWorker

    if future.status == "finished":
        found: Outcome = future.result()
        return found
    if future.status != "error":
        raise RunError(
            f"The connection to the workers was lost at {unit}.",
            "What was finished is kept; start again to go on.",
        )
    error = future.exception()
    if isinstance(error, KilledWorker):
        words = "Every worker that tried it died, probably for lack of memory. Use fewer jobs."
        return _failed(unit, words)
    return _failed(unit, in_words(error))


@contextlib.contextmanager
def _client(jobs: int, scheduler: str | None) -> Iterator[Client]:
    """Connect to a scheduler, or start processes of our own and stop them at the end."""
    import dask
    from distributed import Client, LocalCluster

    if scheduler is not None:
        with _connected(scheduler) as client:
            yield client
        return
    quiet = {"distributed.nanny.pre-spawn-environ": _ONE_THREAD}
    with dask.config.set(quiet), _untouched_by_ctrl_c():
        cluster = LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            host="127.0.0.1",
            # Any free port, so that nothing clashes with another cluster.
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
    with contextlib.ExitStack() as at_end:
        before = logging.root.manager.disable
        at_end.callback(logging.disable, before)
        at_end.enter_context(cluster)
        client = at_end.enter_context(Client(cluster))
        # Does not wait for them, so that a stop needs not either.
        cluster.scale(jobs)
        try:
            yield client
        except BaseException:
            # Connections that break off now are no news.
            logging.disable(logging.CRITICAL)
            _stop_workers(cluster)
            raise


@contextlib.contextmanager
def _untouched_by_ctrl_c() -> Iterator[None]:
    """Keep SIGINT from the threads started within and from their processes.

    A terminal sends it to all processes; only the first of them is to answer, and stops the rest.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    # Its start would take the mask off again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop_workers(cluster: LocalCluster) -> None:
    """End the workers at once, in the middle of a fit as they are: nothing of it is to be kept."""
    # Those that are still starting are not among `workers`.
    nannies = {*cluster.workers.values(), *getattr(cluster, "_created", ())}
    processes = [nanny.process and nanny.process.process for nanny in nannies]
    pids = {process.pid for process in processes if process is not None}
    for nanny in nannies:
        # It would start a worker that dies again.
        nanny.close_gracefully()
    for child in multiprocessing.active_children():
        if child.pid in pids:
            child.kill()


def _connected(address: str) -> Client:
    from distributed import Client

    try:
        return Client(address, timeout=10)
    except ValueError as error:
        raise InputError(
            f"{address!r} is no address of a scheduler: {error}.", "Write tcp://host:8786."
        ) from None
    except OSError as error:
        raise RunError(
            f"No scheduler answers at {address!r}.", "Start one with `dask scheduler`."
        ) from error
