"""Marks for one submission: its answers in the teacher's notebook, judged outside its process."""

from dataclasses import dataclass, field

from d2l_gan.classroom import checks
from d2l_gan.classroom.checks import Verdict
from d2l_gan.classroom.isolation import Isolation, Limits
from d2l_gan.classroom.student import Ended, Failed, Student, Time, judging, tidy
from d2l_gan.classroom.submission import Submission, checks_of


@dataclass
class Marking:
    """A submission on its way through the teacher's notebook.

    Attributes
    ----------
    verdicts : for each exercise that has been judged
    deadly : for each step that ended the process, why; it is not taken again
    """

    submission: Submission
    isolation: Isolation
    limits: Limits
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    deadly: dict[str, str] = field(default_factory=dict)
    step: str = ''

    def run(self) -> dict[str, Verdict]:
        """The verdict on each exercise, whatever the submission does."""
        clock, why = Time(self.limits), ''
        for _ in range(1 + self.limits.restarts):
            self.step = ''
            try:
                with Student(self.isolation, clock) as student:
                    self._walk(student)
                break
            except Ended as ended:
                why = str(ended)
                self.deadly[self.step] = why
                if clock.is_up or not self.step:
                    break
        rest = Verdict(False, f'Not reached: an earlier cell ended the process. {why}')
        if clock.is_up:
            rest = Verdict(False, why)
        for name in self.submission.teacher.exercises:
            if name in self.deadly:
                self.verdicts.setdefault(name, Verdict(False, self.deadly[name]))
            self.verdicts.setdefault(name, rest)
        return self.verdicts

    def _walk(self, student: Student) -> None:
        """Run the teacher's notebook with the student's answers, once."""
        trouble = ''
        for cell in self.submission.teacher.cells:
            if cell.kind != 'code' or 'long' in cell.tags:
                continue
            if 'solution' in cell.tags:
                trouble = self._answer(student, cell.id) or trouble
            elif exercises := checks_of(cell):
                for name, expression in exercises:
                    self._check(student, name, expression, trouble)
                trouble = ''
            else:
                self._cell(student, cell.id, cell.source)  # its errors are not the student's

    def _answer(self, student: Student, cell_id: str) -> str:
        """Run an answer; the reason where it is missing or does not run."""
        pieces = self.submission.answers[cell_id]
        if not pieces:
            return 'The cell of this answer is missing.'
        reasons = [
            self._cell(student, f'{cell_id} {number}', piece) for number, piece in enumerate(pieces)
        ]
        return next(filter(None, reasons), '')

    def _cell(self, student: Student, step: str, source: str) -> str:
        """Run a cell; the reason where it does not run."""
        if step in self.deadly:
            return self.deadly[step]
        self.step = step
        try:
            student.run(source)
        except Failed as error:
            return str(error.args[0])
        return ''

    def _check(self, student: Student, name: str, expression: str, trouble: str) -> None:
        """Judge an exercise, unless that is done."""
        if name in self.deadly:
            self.verdicts.setdefault(name, Verdict(False, self.deadly[name]))
        self.step = name
        if name not in self.verdicts:
            self.verdicts[name] = self._verdict(student, name, expression, trouble)
        if self.verdicts[name].right:
            student.right(name)

    def _verdict(self, student: Student, name: str, expression: str, trouble: str) -> Verdict:
        try:
            answer = student.evaluate(expression)
        except Failed as error:
            return Verdict(False, trouble or str(error.args[0]))
        try:
            with judging():
                said = checks.verdict(name, answer)
        except Ended:
            raise
        except Exception as error:  # a check that its author did not try on this
            said = Verdict(False, f'The check itself stopped with {type(error).__name__}: {error}')
        if student.ended:
            raise Ended(student.ended)
        reason = tidy(said.reason) if said.right or not trouble else trouble
        return Verdict(said.right, reason)
