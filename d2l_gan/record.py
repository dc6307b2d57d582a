"""The moments of a game that can be gone back to, evenly thinned when they grow many."""

from collections.abc import Mapping
from typing import Any

EVERY = 10  # steps from one moment to the next, at first


class Record:
    """The moments of a game in order: `figures` to read (with a 'step'), `states` to go back to.

    The game is `at` one of them. Beyond `most` moments every second one is dropped, and new ones
    come half as often, every so many steps.
    """

    def __init__(self, most: int):
        self.most, self.every, self.at = most, EVERY, -1
        self.figures: list[dict[str, float]] = []
        self.states: list[dict[str, Any]] = []

    def is_due(self, step: int) -> bool:
        """Whether a game that has come to `step` has another moment to keep."""
        return step - self.figures[-1]['step'] >= self.every

    def add(self, figures: Mapping[str, float], state: Mapping[str, Any]) -> None:
        """Append a moment, which is then the present one."""
        self.figures.append(dict(figures))
        self.states.append(dict(state))
        self.at = len(self.states) - 1
        if len(self.states) > self.most:
            keep = sorted({*range(0, self.at, 2), self.at})
            self.figures[:] = [self.figures[i] for i in keep]
            self.states[:] = [self.states[i] for i in keep]
            self.at, self.every = len(keep) - 1, 2 * self.every

    def forget_the_future(self) -> None:
        """Drop what came after the present moment, and that too where it only marked the end."""
        del self.figures[self.at + 1 :], self.states[self.at + 1 :]
        *_, before, last = [-self.every, *(figures['step'] for figures in self.figures)]
        if self.every > EVERY and last - before < self.every:
            del self.figures[-1], self.states[-1]

    def visit(self, index: int) -> dict[str, Any]:
        """Go to the moment `index` and return its state; IndexError where there is none."""
        if not -len(self.states) <= index < len(self.states):
            raise IndexError(f'record {index}: there are {len(self.states)}, from 0')
        self.at = index % len(self.states)
        return self.states[self.at]

    def window(self, length: int = 30) -> list[dict[str, float]]:
        """The figures of the last moments up to the present, as far as they had its target."""
        begin, target = self.at, self.states[self.at]['target']
        while begin > max(0, self.at + 1 - length) and self.states[begin - 1]['target'] == target:
            begin -= 1
        return self.figures[begin : self.at + 1]
