"""The student's process: runs cells, evaluates expressions, calls functions, when it is told to.

It does as a notebook's kernel does, with IPython's magics. What it says of itself is not trusted;
whether an answer is right is decided by the grader, in the grader's process.
"""

import os
import pickle
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import Any

from d2l_gan.classroom import checks, wire

SIZE = struct.Struct('>Q')


class OutOfTime(KeyboardInterrupt):
    """A cell has used up its time."""


class Worker:
    """A shell, and the functions that the grader may call."""

    def __init__(self) -> None:
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        quiet = Config({'HistoryManager': {'enabled': False}})
        self.shell = InteractiveShell.instance(config=quiet, colors='nocolor')
        for name in ('showtraceback', 'showsyntaxerror'):
            setattr(self.shell, name, lambda *_, **__: None)  # nobody reads them
        self.kept: list[Any] = []

    def keep(self, function: Any) -> int:
        """Keep a function for later calls; its number."""
        self.kept.append(function)
        return len(self.kept) - 1

    def run(self, source: str) -> None:
        """Run a cell; raises what it raised."""
        result = self.shell.run_cell(source, store_history=False)
        if error := result.error_before_exec or result.error_in_exec:
            raise error

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, among what the cells have defined."""
        return eval(expression, self.shell.user_ns)

    def call(self, number: int, args: bytes) -> Any:
        """What a kept function returns for pickled arguments."""
        unpickler = pickle.Unpickler(__import__('io').BytesIO(args))
        unpickler.persistent_load = self.kept.__getitem__  # type: ignore[method-assign]
        given, named = unpickler.load()
        return self.kept[number](*given, **named)

    def right(self, name: str) -> None:
        """An exercise is right: cells that wait for it, by `solved`, go on."""
        checks._verdicts[name] = checks.Verdict(True, '')

    def answer(self, command: str, seconds: float, *args: Any) -> bytes:
        """Do as one request says; the reply, which is a value or an error in words."""
        try:
            with suppress(OSError):
                os.ftruncate(1, 0)  # what one cell has printed is no burden for the next
            with in_time(seconds):
                value = getattr(self, command)(*args)
                return wire.encode({'value': value}, self.keep)
        except wire.TooLarge:
            return self.error('ValueError', 'its value is larger than 64 MB')
        except OutOfTime:
            return self.error('OutOfTime', '')
        except BaseException as error:
            return self.error(type(error).__name__, words(error))

    def error(self, kind: str, text: str) -> bytes:
        """The reply where there is no value."""
        return wire.encode({'error': kind[:60], 'text': text}, self.keep)


def words(error: BaseException) -> str:
    """The message of an error, which may itself fail; not more than a reader wants."""
    try:
        if isinstance(error, SyntaxError):
            return f'{error.msg}, line {error.lineno}'
        return str(error)[:300]
    except BaseException:
        return ''


@contextmanager
def in_time(seconds: float) -> Any:
    """Interrupt the block, as Ctrl-C would, when its time is up (where the system has alarms)."""
    if not hasattr(signal, 'setitimer'):
        yield
        return

    def ring(*_: Any) -> None:
        raise OutOfTime

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> None:
    """Answer requests from the standard input on the standard output, which cells do not get."""
    requests, replies = os.fdopen(os.dup(0), 'rb'), os.fdopen(os.dup(1), 'wb')
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what cells print goes to the log
    serve: Callable[..., bytes] = Worker().answer
    own = os.getpid()
    while len(size := requests.read(SIZE.size)) == SIZE.size:
        reply = serve(*pickle.loads(requests.read(*SIZE.unpack(size))))
        if os.getpid() != own:
            os._exit(0)  # a child that a cell has forked: one answer is enough
        replies.write(reply)
        replies.flush()
        with suppress(OSError):
            sys.stdout.flush()
    os._exit(0)


if __name__ == '__main__':
    main()
