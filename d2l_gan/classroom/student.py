"""A student's process, as the grader sees it: cells to run, expressions, functions to call."""

import io
import os
import pickle
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import psutil
import torch

from d2l_gan.classroom import wire
from d2l_gan.classroom.checks import Wrong
from d2l_gan.classroom.isolation import Isolation, Limits
from d2l_gan.classroom.worker import SIZE

START = 120.0  # seconds to load PyTorch on a busy machine
GRACE = 2.0  # seconds between the interrupt of a cell and the end of its process
LOOK = 0.1  # seconds between two looks at memory and processes


class Ended(Wrong):
    """The student's process has ended or had to be ended; the text says why."""


class Failed(Exception):
    """A cell or an expression stopped with an error; the text names it."""


class Time:
    """The seconds that a submission has left, over all its processes."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.left = limits, limits.total

    @property
    def is_up(self) -> bool:
        """Whether nothing is left."""
        return self.left <= 0

    @contextmanager
    def of_one_cell(self) -> Iterator[float]:
        """The seconds that a cell may take; what it has taken is gone."""
        if self.is_up:
            raise Ended(f'The time for one submission, {self.limits.total:.0f} s, was used up.')
        start = time.monotonic()
        try:
            yield min(self.limits.cell, self.left)
        finally:
            self.left -= time.monotonic() - start


_judging = threading.Lock()


@contextmanager
def judging() -> Iterator[None]:
    """One check at a time, from the same seed; while it waits for a student, another goes on."""
    with _judging:
        torch.manual_seed(0)
        yield


@contextmanager
def _waiting() -> Iterator[None]:
    """Within `judging`: let others judge, then go on with the random numbers of before."""
    if not _judging.locked():
        yield
        return
    state = torch.get_rng_state()
    _judging.release()
    try:
        yield
    finally:
        _judging.acquire()
        torch.set_rng_state(state)


class Student:
    """A process that runs a submission; leave its `with` block, and nothing of it is left.

    Parameters
    ----------
    isolation : how it is kept apart
    clock : the seconds that it has left, and its limits
    """

    def __init__(self, isolation: Isolation, clock: Time) -> None:
        self._isolation, self._clock, self._limits = isolation, clock, clock.limits
        self._replies: queue.Queue = queue.Queue()
        self._requests: queue.Queue = queue.Queue()
        self._looked = 0.0
        self.ended = ''  # why, once the process had to be ended

    def __enter__(self) -> 'Student':
        with ExitStack() as stack:
            folder = tempfile.TemporaryDirectory(prefix='d2l-grade-', ignore_cleanup_errors=True)
            self._folder = Path(stack.enter_context(folder))
            worker = 'd2l_gan.classroom.worker'
            self._process = self._isolation.start(self._limits, self._folder, worker)
            stack.callback(self._kill)
            for work in (self._write, self._read):
                threading.Thread(target=work, daemon=True).start()
            self._exchange('run', START, 'pass')
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stack.close()

    def run(self, source: str) -> None:
        """Run a cell.

        Raises
        ------
        Failed
            Where it stopped with an error
        Ended
            Where the process did not survive it
        """
        with self._clock.of_one_cell() as seconds:
            self._exchange('run', seconds, source)
        self._look(at_once=True)  # what a cell has left running is that cell's

    def evaluate(self, expression: str) -> Any:
        """The value of an expression; functions in it are stand-ins, whose calls go there.

        Raises Failed and Ended, as `run`.
        """
        with self._clock.of_one_cell() as seconds:
            return self._exchange('evaluate', seconds, expression)

    def right(self, name: str) -> None:
        """Tell it that an exercise is right, for cells that wait for it."""
        with self._clock.of_one_cell() as seconds:
            self._exchange('right', seconds, name)

    def call(self, number: int, args: tuple, kwargs: dict) -> Any:
        """What its function with this number returns; raises an error of the same name."""
        file = io.BytesIO()
        pickler = pickle.Pickler(file)
        pickler.persistent_id = _number  # type: ignore[method-assign]
        try:
            pickler.dump((args, kwargs))
        except Exception as error:
            raise Ungraded(f'What it gives to your function cannot be sent: {error}') from error
        try:
            with _waiting(), self._clock.of_one_cell() as seconds:
                return self._exchange('call', seconds, number, file.getvalue())
        except Failed as error:
            raise error.args[1] from error

    def _exchange(self, command: str, seconds: float, *args: Any) -> Any:
        """Send a request and wait for its reply, with an eye on the process."""
        self._requests.put(pickle.dumps((command, seconds, *args)))
        deadline = time.monotonic() + seconds + GRACE
        while True:
            self._look()
            with suppress(queue.Empty):
                return self._value(self._replies.get(timeout=LOOK))
            if time.monotonic() > deadline:
                self._end(self._overtime())

    def _value(self, reply: Any) -> Any:
        """The value in a reply; raises what else it says."""
        if reply is None:
            self._end(self._death())
        if isinstance(reply, Exception):
            self._end('Its answer is larger than the grader reads.')
        try:
            data, tensors = reply
            said = wire.decode(data, tensors, lambda number: Remote(self, number))
            if 'value' in said:
                return said['value']
            kind, text = str(said['error']), tidy(str(said['text']))
        except (wire.Garbled, TypeError, KeyError):
            self._end('It wrote into the line to the grader.')
        if kind == 'OutOfTime':
            raise Failed(self._overtime(), Wrong(self._overtime()))
        if 'Resource temporarily unavailable' in text:
            self._end(self._crowd())
        if 'File too large' in text:
            said = f'It printed or wrote more than {self._limits.printed / 2**20:.0f} MB.'
            raise Failed(said, Wrong(said))
        if kind == 'MemoryError' or 'allocate memory' in text:
            most = f'{self._limits.memory / 2**30:.2g} GB'
            text = f'more was asked for than the {most} that are allowed'
        kind = kind if kind.isidentifier() else 'Exception'
        words = f'{kind}: {text}' if text else kind
        raise Failed(f'Your code stopped with {words}.', type(kind, (Exception,), {})(text))

    def _look(self, at_once: bool = False) -> None:
        """End the process where it uses too much."""
        if not at_once and time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        with suppress(OSError):
            if (self._folder / 'log').stat().st_size > 2 * self._limits.printed:
                self._end(f'It printed more than {self._limits.printed / 2**20:.0f} MB.')
        family = self._family()
        if len(family) > self._limits.processes:
            self._end(self._crowd())
        if memory_of(family) > self._limits.memory:
            self._end(f'It used more than {self._limits.memory / 2**30:.2g} GB of memory.')

    def _family(self) -> list[psutil.Process]:
        """The process and all that it has started."""
        with suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            return [process, *process.children(recursive=True)]
        return []

    def _crowd(self) -> str:
        return f'It had more than {self._limits.processes} processes at a time.'

    def _overtime(self) -> str:
        if self._clock.left <= 0:
            return f'The time for one submission, {self._limits.total:.0f} s, was used up.'
        return f'It ran for more than {self._limits.cell:.0f} s.'

    def _death(self) -> str:
        """In words, how a process that has ended by itself has ended."""
        try:
            code = self._process.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            return 'It closed the line to the grader.'
        number = -code if code < 0 else code - 128
        how = f'signal {number}' if number > 0 else f'exit code {code}'
        return f'It ended its own process ({how}).'

    def _end(self, why: str) -> NoReturn:
        self._kill()
        self.ended = why
        raise Ended(why)

    def _kill(self) -> None:
        """End all its processes. In namespaces one is enough, and the system ends the others."""
        family: list[psutil.Process] = []
        while not self._isolation.closed and len(found := self._family()) > len(family):
            family = found
            for process in family:
                with suppress(psutil.Error):
                    process.suspend()  # so that it starts no other one
        for process in family:
            with suppress(psutil.Error):
                process.kill()
        if hasattr(os, 'killpg'):
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)  # those without a parent, too
        self._process.kill()
        self._process.wait()
        self._requests.put(None)

    def _write(self) -> None:
        """Send requests, in a thread: a process that does not read holds up nobody."""
        assert self._process.stdin
        with suppress(OSError, ValueError):
            while (request := self._requests.get()) is not None:
                self._process.stdin.write(SIZE.pack(len(request)) + request)
                self._process.stdin.flush()
        with suppress(OSError):
            self._process.stdin.close()

    def _read(self) -> None:
        """Read replies, in a thread: a process that does not answer holds up nobody."""
        assert self._process.stdout
        with self._process.stdout as stream:
            try:
                while reply := wire.read(stream):
                    self._replies.put(reply)
                self._replies.put(None)
            except (wire.TooLarge, OSError, ValueError) as error:
                self._replies.put(error)


class Ungraded(Wrong):
    """A check that cannot be made in two processes: a fault of the course, not of the student."""


class Remote:
    """Stands in for a function of the student's; a call runs in the student's process."""

    def __init__(self, student: Student, number: int) -> None:
        self._student, self._number = student, number

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the student's function returns."""
        return self._student.call(self._number, args, kwargs)


def memory_of(family: list[psutil.Process]) -> int:
    """The bytes that processes hold together; what a child shares with its parent counts once."""
    total = 0
    for process in family:
        with suppress(psutil.Error):
            if len(family) > 3:
                full = process.memory_full_info()
                total += getattr(full, 'pss', full.uss)
            else:
                total += process.memory_info().rss
    return total


def _number(value: Any) -> int | None:
    """For pickle: a stand-in that goes back is the function that it stands for."""
    return value._number if isinstance(value, Remote) else None


def tidy(text: str) -> str:
    """A text on one line, without characters that do not print, and not too long."""
    kept = ''.join(c if c.isprintable() else ' ' for c in text)
    words = ' '.join(kept.split())
    return words if len(words) <= 240 else words[:240] + '…'
