"""The steps that the protocol consists of, and who carries them out.

The protocol (`regions.region`) is written once, as generators that yield what they want done;
`run` does it for functions and `run_async` for coroutine functions, where a store's answer is
awaited in a thread and the event loop is never blocked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any

from regions import transactions


@dataclass(frozen=True, slots=True)
class Wait:
    """A step: let this many seconds pass."""

    seconds: float


class Load:
    """The step: run the function."""


Step = Wait | type[Load] | Callable[[], Any]
Protocol = Generator[Step, Any, Any]


class Stopped(Exception):
    """A StopIteration of the application's, on its way through a protocol: a generator that
    raised one would end, or fail (PEP 479)."""

    def __init__(self, error: StopIteration) -> None:
        super().__init__(error)
        self.error = error

    def __repr__(self) -> str:
        return repr(self.error)


def run(protocol: Protocol, load: Callable[[], Any]) -> Any:
    """Carry out a protocol's steps, and return its value."""
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            step = protocol.throw(error) if error is not None else protocol.send(answer)
        except StopIteration as stop:
            return stop.value
        except Stopped as stopped:
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
            error = Stopped(stop)
        except BaseException as raised:
            error = raised
    raise error


async def run_async(protocol: Protocol, load: Callable[[], Awaitable[Any]]) -> Any:
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
        except Stopped as stopped:
            error = stopped.error
            break
        answer, error = None, None
        try:
            if step is Load:
                answer = await load()
            elif isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
            else:
                answer, cancelled = await _to_its_end(step)
        except StopIteration as stop:
            error = Stopped(stop)
        except BaseException as raised:
            error = raised
    raise error  # of which Python makes a RuntimeError, as in any coroutine


async def in_thread(step: Callable[[], Any]) -> Any:
    """Carry out a step in the thread that waits for this coroutine, whose transactions it is part
    of; where none does, in any."""
    answer = transactions.current.carry_out(step)
    return await (asyncio.to_thread(step) if answer is None else answer)


async def _to_its_end(step: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Carry out a step in a thread. Returns its answer, and the cancellation that came
    meanwhile."""
    cancelled: BaseException | None = None
    task = asyncio.ensure_future(in_thread(step))
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:
            break
    return task.result(), cancelled
