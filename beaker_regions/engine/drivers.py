"""The drivers of a load: one for functions, one for coroutine functions.

A load (`beaker_regions.engine.loading`) is written once, as a generator that yields its steps.
`run` carries out the steps for a function. `run_async` does it for a coroutine function: steps that
ask a store run in a thread, so the event loop is never blocked.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from beaker_regions.engine import invalidation
from beaker_regions.runtime import threads
from beaker_regions.runtime.threads import Job

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wait:
    """A step: wait for this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Load:
    """A step: call the function, within ``block``."""

    block: AbstractContextManager[object]


class ReadContent(functools.partial[Any]):
    """A step: read content, which may be an iterator of the application. It runs in a thread of its
    own."""


Step = Wait | Load | Callable[[], Any]
LoadFlow = Generator[Step, Any, Any]


class StoppedError(Exception):
    """Carries the application's StopIteration through a generator, which would end, or fail, if it
    raised one itself (PEP 479)."""

    def __init__(self, error: StopIteration) -> None:
        super().__init__(error)
        self.error = error

    def __repr__(self) -> str:
        return repr(self.error)


class Closed(BaseException):
    """The coroutine was closed. A generator can still yield steps after it, unlike after
    GeneratorExit."""


def run(flow: LoadFlow, load: Callable[[], Any], error: BaseException | None = None) -> Any:
    """Carry out the steps of a load, and return its value. ``error``: the exception of the last
    step, if the load goes on from there."""
    answer: Any = None
    while True:
        try:
            step = flow.throw(error) if error is not None else flow.send(answer)
        except StopIteration as stop:
            return stop.value
        except StoppedError as stopped:
            error = stopped.error
            break
        answer, error = None, None
        try:
            if isinstance(step, Load):
                with step.block:
                    answer = load()
            elif isinstance(step, Wait):
                time.sleep(step.seconds)
            else:
                answer = step()
        except StopIteration as stop:
            error = StoppedError(stop)
        except BaseException as raised:
            error = raised
    raise error


async def run_async(flow: LoadFlow, load: Callable[[], Awaitable[Any]]) -> Any:
    """As `run`, for a coroutine function. The event loop never waits for a store."""
    answer: Any = None
    error: BaseException | None = None
    cancelled: BaseException | None = None
    while True:
        try:
            step = flow.throw(error) if error is not None else flow.send(answer)
            if cancelled is not None:
                # Now the load knows what the step has done; it may have taken a lease.
                step, cancelled = flow.throw(cancelled), None
        except StopIteration as stop:
            if cancelled is not None:
                raise cancelled from None
            return stop.value
        except StoppedError as stopped:
            error = stopped.error
            break
        answer, error = None, None
        job: Job | None = None
        try:
            if isinstance(step, Load):
                with step.block:
                    answer = await load()
            elif isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
            else:
                job, done = _send(step)
                cancelled = await _end(done)
                answer = _outcome(job)
        except StopIteration as stop:
            error = StoppedError(stop)
        except GeneratorExit:
            # A closed coroutine cannot await.
            rest = functools.partial(_finish, flow, job)
            leave = functools.partial(threads.of_coroutines.do, rest)
            leave() if job is None else job.then(leave)
            raise
        except BaseException as raised:
            error = raised
    raise error  # Python turns a StopIteration into a RuntimeError, as in any coroutine


def _finish(flow: LoadFlow, job: Job | None) -> None:
    """Finish a load whose coroutine was closed, after its last step."""

    def load() -> None:
        raise Closed

    with contextlib.suppress(StopIteration, Closed):
        if job is not None:
            # The load learns what the step has done; it may have taken a lease.
            if job.error is None:
                flow.send(job.value)
            else:
                flow.throw(job.error)
        run(flow, load, Closed())


async def in_thread(step: Callable[[], T]) -> T:
    """Carry out a step in one of the library's threads, as a rule, as part of this coroutine's
    transactions."""
    job, done = _send(step)
    await done
    return _outcome(job)  # type: ignore[no-any-return]


def _outcome(job: Job) -> Any:
    if job.error is not None:
        raise job.error
    return job.value


def _send(step: Callable[[], Any]) -> tuple[Job, asyncio.Future[None]]:
    """Start a step. Returns its job, and a future to await."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    job = Job(step)
    job.then(functools.partial(_wake, loop, done))
    do = threads.do_apart if isinstance(step, ReadContent) else threads.of_coroutines.do
    carried = invalidation.transactions.carry_out(job)
    if not isinstance(carried, Awaitable):
        do(threads.in_this_context(carried))
        return job, done

    def settle(task: asyncio.Future[Any]) -> None:
        if job.is_begun:
            return
        if task.cancelled():
            job.error = asyncio.CancelledError()
            job.end()
        elif task.exception() is not None:
            # The thread of the transactions no longer waits for this coroutine.
            do(threads.in_this_context(job))

    asyncio.ensure_future(carried).add_done_callback(settle)
    return job, done


def _wake(loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]) -> None:
    # The loop may be closed by now.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_settle, done)


def _settle(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


async def _end(done: asyncio.Future[None]) -> BaseException | None:
    """Wait for the end of a step, even if the coroutine is cancelled. Returns the cancellation."""
    cancelled: BaseException | None = None
    while not done.done():
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled
