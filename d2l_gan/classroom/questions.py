"""Quick questions: one right answer of four, and for each answer the reason."""

import html
import tomllib
from importlib.resources import files
from typing import Any

import ipywidgets as widgets

from d2l_gan.lab.controls import Shown, status

LETTERS = 'abcd'


class QuickQuestions(Shown):
    """Six questions to a chapter, each answered by a click, or with Tab and the space bar.

    Printed, or shown without a kernel, it is plain text, and `answer` takes the place of the click.

    Parameters
    ----------
    chapter : int, 1 or 2

    Raises
    ------
    ValueError
        Where there is no such chapter
    """

    def __init__(self, chapter: int):
        asked = tomllib.loads(
            files('d2l_gan.classroom').joinpath('questions.toml').read_text('utf-8')
        )
        if f'chapter{chapter}' not in asked:
            raise ValueError(f'there are quick questions to chapters 1 and 2; got {chapter!r}')
        self.questions = asked[f'chapter{chapter}']
        self.right: dict[int, bool] = {}  # what has been answered: number -> whether rightly
        self.choices, self.said = [], []
        self.total = widgets.HTML()
        parts = []
        for number, question in enumerate(self.questions, start=1):
            choice = widgets.RadioButtons(
                options=self.options(number), value=None, layout={'width': 'max-content'}
            )
            said = widgets.HTML(layout={'min_height': '1.6em'})
            choice.observe(lambda change, n=number: self.say(n, change['new']), 'value')
            asks = widgets.HTML(f'<b>{number}. {html.escape(question["question"])}</b>')
            parts.append(widgets.VBox([asks, choice, said]))
            self.choices.append(choice)
            self.said.append(said)
        super().__init__([*parts, self.total])

    def options(self, number: int) -> list[str]:
        """The four answers to question `number`, from 1 on, in the order of the page."""
        question = self.questions[number - 1]
        return sorted([question['right'], *question['wrong']], key=str.lower)

    def answer(self, number: int, letter: str) -> None:
        """Answer question `number`, 1 to 6, from code, with a letter, a to d; print what it says.

        Raises
        ------
        ValueError
            Where there is no such question or letter
        """
        if not 1 <= number <= len(self.questions) or letter not in LETTERS or len(letter) != 1:
            raise ValueError(
                f'questions are 1 to {len(self.questions)} and answers a to d; '
                f'got {number!r} and {letter!r}'
            )
        print(self.say(number, self.options(number)[LETTERS.index(letter)]))

    def say(self, number: int, chosen: str) -> str:
        """What there is to say to an answer; the page shows it, too."""
        question = self.questions[number - 1]
        self.right[number] = right = chosen == question['right']
        reason = question['why'] if right else question['wrong'][chosen]
        said = f'{"Right" if right else "Not quite"}. {reason}'
        self.said[number - 1].value = status(html.escape(said))
        self.total.value = status(f'{sum(self.right.values())} of {len(self.questions)} right')
        return said

    def __str__(self) -> str:
        lines = []
        for number, question in enumerate(self.questions, start=1):
            lines.append(f'{number}. {question["question"]}')
            pairs = zip(LETTERS, self.options(number), strict=True)
            lines += [f'   {letter}) {option}' for letter, option in pairs]
        return '\n'.join(lines)

    def still(self) -> None:
        """No picture: what stands in for it is text."""

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return super()._repr_mimebundle_(**kwargs) | {'text/plain': str(self)}
