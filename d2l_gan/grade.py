"""Grade a folder of submitted notebooks: `python -m d2l_gan.grade FOLDER --out marks.csv`.

One row for each file, one column for each exercise. Every submission runs in processes of its own,
with limits; on Linux without a network, and without sight of the other submissions, the solutions
and the marks. Whether an answer is right is decided outside of them, so that an edited check
changes nothing. A second call grades only what is new.
"""

import argparse
import csv
import hashlib
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import torch
from tqdm import tqdm

from d2l_gan.classroom import EXERCISES
from d2l_gan.classroom.isolation import Isolation, Limits, find_isolation, kept_limits
from d2l_gan.classroom.marking import Marking
from d2l_gan.classroom.submission import Teacher, Unreadable, read_submission, read_teacher
from d2l_gan.files import put_in_place

SOLUTIONS = Path(__file__).parents[1] / 'notebooks' / 'solutions'
CHECKS = sorted(Path(__file__).with_name('classroom').glob('*.py'))
LAST = ['points', 'of', 'reasons', 'notes', 'isolation', 'digest']

Row = dict[str, str]


class Marks:
    """The table of marks, on the disk after each row.

    Rows of a table that is there are kept.
    """

    def __init__(self, path: Path, exercises: Sequence[str]) -> None:
        self.path, self.rows = path, {}
        self.columns = ['file', 'notebook', *exercises, *LAST]
        if path.exists():
            with open(path, newline='', encoding='utf-8') as file:
                self.rows = {row['file']: row for row in csv.DictReader(file) if row.get('file')}

    def has(self, name: str, digest: str) -> bool:
        """Whether this very file is graded."""
        return self.rows.get(harmless(name), {}).get('digest') == digest

    def add(self, row: Row) -> None:
        """Add or replace a row, and save."""
        row = {column: harmless(text) for column, text in row.items()}
        self.rows[row['file']] = row
        with (
            put_in_place(self.path) as new,
            open(new, 'w', newline='', encoding='utf-8') as file,
        ):
            writer = csv.DictWriter(file, self.columns, restval='', extrasaction='ignore')
            writer.writeheader()
            writer.writerows(self.rows[name] for name in sorted(self.rows))


def harmless(text: str) -> str:
    """A text that a spreadsheet does not take for a formula, and that any file can hold."""
    text = text.encode('utf-8', 'replace').decode()
    return f"'{text}" if text.startswith(('=', '+', '-', '@', '\t', '\r')) else text


def grade(path: Path, teachers: list[Teacher], isolation: Isolation, limits: Limits) -> Row:
    """The row of one file, but for its name and digest."""
    try:
        submission = read_submission(path, teachers)
    except Unreadable as why:
        return {'points': '0', 'reasons': str(why)}
    verdicts = Marking(submission, isolation, limits).run()
    points = {name: EXERCISES[name].points * said.right for name, said in verdicts.items()}
    lost = [f'{name}: {said.reason}' for name, said in verdicts.items() if not said.right]
    return {
        'notebook': submission.teacher.name,
        **{name: str(number) for name, number in points.items()},
        'points': str(sum(points.values())),
        'of': str(sum(EXERCISES[name].points for name in verdicts)),
        'reasons': ' | '.join(lost),
        'notes': ' '.join(submission.notes),
        'isolation': isolation.words,
    }


def digest_of(path: Path, *more: Path) -> str:
    """A digest of a submission and of all that its marks depend on."""
    digest = hashlib.sha256()
    for file in (path, *more):
        digest.update(file.read_bytes() if file.is_file() else b'')
    return digest.hexdigest()[:16]


def files_in(folder: Path, but: Path) -> list[Path]:
    """All files of a folder, hidden ones left out, and the table of marks."""
    found = [p for p in sorted(folder.rglob('*')) if not p.is_dir() or p.suffix == '.ipynb']
    return [
        path
        for path in found
        if not any(part.startswith('.') for part in path.relative_to(folder).parts)
        and path.resolve() != but.resolve()
    ]


def read_teachers(folder: Path) -> list[Teacher]:
    """The notebooks of solutions; the program ends with a sentence where they are not there."""
    paths = sorted(folder.glob('*.ipynb'))
    if not paths:
        sys.exit(
            f'No notebook of solutions in {folder}: say where they are with --solutions FOLDER '
            "(in the course's repository: notebooks/solutions)."
        )
    try:
        teachers = [read_teacher(path) for path in paths]
    except Unreadable as why:
        sys.exit(f'A notebook of solutions in {folder} cannot be used. {why}')
    for teacher in teachers:
        if unknown := [name for name in teacher.exercises if name not in EXERCISES]:
            sys.exit(
                f'{teacher.name} checks {", ".join(unknown)}, which this version of d2l_gan does '
                'not know: take both from the same version of the course.'
            )
    return teachers


def parser() -> argparse.ArgumentParser:
    """The command line."""
    usual = Limits()
    parse = argparse.ArgumentParser(
        prog='python -m d2l_gan.grade',
        description='Grade a folder of submitted notebooks into one table.',
        epilog='A second call with the same table grades only files that are new or changed. '
        'Delete the table, or rows of it, to grade again.',
    )
    parse.add_argument('folder', type=Path, help='submissions; folders within it are read, too')
    parse.add_argument('--out', type=Path, default=Path('marks.csv'), help='table (%(default)s)')
    parse.add_argument(
        '--solutions', type=Path, default=SOLUTIONS, help="the course's notebooks/solutions"
    )
    parse.add_argument('--jobs', type=int, default=2, help='submissions at once (%(default)s)')
    parse.add_argument(
        '--cell', type=float, default=usual.cell, metavar='S', help='seconds a cell (%(default)s)'
    )
    parse.add_argument(
        '--total',
        type=float,
        default=usual.total,
        metavar='S',
        help='seconds a submission (%(default)s)',
    )
    parse.add_argument(
        '--memory', type=float, default=4.0, metavar='GB', help='for each (%(default)s GB)'
    )
    parse.add_argument(
        '--open', action='store_true', help='without namespaces, even where Linux has them'
    )
    return parse


def main(arguments: Sequence[str] | None = None) -> None:
    """Grade, with a progress bar."""
    ask = parser().parse_args(arguments)
    if not ask.folder.is_dir():
        sys.exit(f'{ask.folder} is no folder: name the one that holds the submitted notebooks.')
    teachers = read_teachers(ask.solutions)
    sources = [*sorted(ask.solutions.glob('*.ipynb')), *CHECKS]
    found = files_in(ask.folder, but=ask.out)
    files = {path.relative_to(ask.folder).as_posix(): path for path in found}
    digests = {name: digest_of(path, *sources) for name, path in files.items()}
    marks = Marks(ask.out, [name for teacher in teachers for name in teacher.exercises])
    new = [name for name in files if not marks.has(name, digests[name])]
    print(f'{len(files)} files, {len(new)} to grade.')
    if not new:
        return
    limits = Limits(ask.cell, ask.total, int(ask.memory * 2**30))
    hide = [ask.folder, ask.solutions, ask.out]
    isolation = find_isolation(hide, closed=not ask.open)
    print(kept_limits(isolation, limits), flush=True)
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(ask.jobs)
    jobs = {pool.submit(grade, files[name], teachers, isolation, limits): name for name in new}
    try:
        for job in tqdm(as_completed(jobs), total=len(jobs), unit='file'):
            name = jobs[job]
            try:
                row = job.result()
            except Exception as error:  # of the grader's: the others go on
                row = {'reasons': f'The grader failed: {type(error).__name__}: {error}'}
                digests[name] = ''
            marks.add({**row, 'file': name, 'digest': digests[name]})
    except KeyboardInterrupt:
        print(f'\nStopped. What is graded is in {ask.out}; call again to go on.', flush=True)
        os._exit(130)  # the processes of students end with this one
    print(f'Wrote {ask.out}.')


if __name__ == '__main__':
    main()
