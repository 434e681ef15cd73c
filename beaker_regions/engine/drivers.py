"""The steps that the protocol consists of, and who carries them out.

The protocol (`regions.region`) is written once, as generators that yield what they want done;
`run` does it for functions and `run_async` for coroutine functions, where a store's answer is
awaited in a thread and the event loop is never blocked.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any

from beaker_regions.engine import invalidation
from beaker_regions.runtime import threads
from beaker_regions.runtime.threads import Job


@dataclass(frozen=True, slots=True)
class Wait:
    """A step: let this many seconds pass."""

    seconds: float


class Load:
    """The step: run the function."""


class ReadContent(functools.partial[Any]):
    """The step: read content, which may be the application's iterator."""


Step = Wait | type[Load] | Callable[[], Any]
LoadFlow = Generator[Step, Any, Any]


class StoppedError(Exception):
    """A StopIteration of the application's, on its way through a protocol: a generator that
    raised one would end, or fail (PEP 479)."""

    def __init__(self, error: StopIteration) -> None:
        super().__init__(error)
        self.error = error

    def __repr__(self) -> str:
        return repr(self.error)


class Closed(BaseException):
    """The coroutine was closed; as GeneratorExit, after which a protocol could do no step."""


def run(protocol: LoadFlow, load: Callable[[], Any], error: BaseException | None = None) -> Any:
    """Carry out a protocol's steps, and return its value; from an ``error`` on, if that is what
    the last step has raised."""
    answer: Any = None
    while True:
        try:
            step = protocol.throw(error) if error is not None else protocol.send(answer)
        except StopIteration as stop:
            return stop.value
        except StoppedError as stopped:
            error = stopped.error
            break
        answer, error = None, None
        try:
            if step is Load:
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


async def run_async(protocol: LoadFlow, load: Callable[[], Awaitable[Any]]) -> Any:
    """As `run`, for a coroutine function; the event loop never waits for a store."""
    answer: Any = None
    error: BaseException | None = None
    cancelled: BaseException | None = None
    while True:
        try:
            step = protocol.throw(error) if error is not None else protocol.send(answer)
            if cancelled is not None:
                # Thrown where the protocol knows what the step has done, such as take a lease.
                step, cancelled = protocol.throw(cancelled), None
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
            if step is Load:
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
            # A closed coroutine can await nothing any more.
            rest = functools.partial(_finish, protocol, job)
            leave = functools.partial(threads.of_coroutines.do, rest)
            leave() if job is None else job.then(leave)
            raise
        except BaseException as raised:
            error = raised
    raise error  # of which Python makes a RuntimeError, as in any coroutine


def _finish(protocol: LoadFlow, job: Job | None) -> None:
    """Let a protocol end whose coroutine was closed, once its last step is done."""

    def load() -> None:
        raise Closed

    with contextlib.suppress(StopIteration, Closed):
        if job is not None:
            # It learns what the step has done, such as take a lease.
            if job.error is None:
                protocol.send(job.value)
            else:
                protocol.throw(job.error)
        run(protocol, load, Closed())


async def in_thread(step: Callable[[], Any]) -> Any:
    """Carry out a step as part of the transactions that this coroutine is part of; as a rule in
    one of the library's threads."""
    job, done = _send(step)
    await done
    return _outcome(job)


def _outcome(job: Job) -> Any:
    if job.error is not None:
        raise job.error
    return job.value


def _send(step: Callable[[], Any]) -> tuple[Job, asyncio.Future[None]]:
    """Let a step be carried out. Returns it, and what to await."""
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
            # The thread does not wait for this coroutine any more.
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
    """Wait for the end of a step, even if cancelled meanwhile. Returns the cancellation."""
    cancelled: BaseException | None = None
    while not done.done():
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled
