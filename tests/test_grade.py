"""The grader: submissions of every kind, hostile ones among them, in real processes.

What deletes, reads or calls out runs only where the system closes processes off.
"""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import psutil
import pytest
import torch

from d2l_gan import grade
from d2l_gan.classroom import wire
from d2l_gan.classroom.checks import EXERCISES, Wrong, as_tensor, ask, close, exercise
from d2l_gan.classroom.isolation import Limits, find_isolation
from d2l_gan.classroom.student import Ended, Student, Time, judging, tidy
from d2l_gan.classroom.submission import (
    Unreadable,
    checks_of,
    read_cells,
    read_submission,
    read_teacher,
)

CLOSED = find_isolation().closed
closed_only = pytest.mark.skipif(not CLOSED, reason='no namespaces on this system')
RIGHT = 'def double(x):\n    return 2 * x'
STUB = 'def double(x):\n    ...'
REPORT = "report = 'nobody', 1"


def code(cell_id, source, *tags):
    cell = nbformat.v4.new_code_cell(source, id=cell_id, metadata={'tags': list(tags)})
    return dict(cell)


def text(cell_id, source, *tags):
    return dict(nbformat.v4.new_markdown_cell(source, id=cell_id, metadata={'tags': list(tags)}))


def teachers_cells():
    return [
        text('title', '# Exercises'),
        code('setup', 'import os\nimport time\nimport torch\nimport d2l_gan as d2l'),
        text('double-task', 'Double it.'),
        code('double-answer', RIGHT, 'solution'),
        code('double-check', "d2l.check('t-double', double)", 'check'),
        code('long', 'os._exit(0)', 'long'),
        code('wait', "seen = d2l.solved('t-double')"),
        code('report-answer', REPORT, 'solution'),
        code('report-check', "d2l.check('t-report', (*report, seen))", 'check'),
    ]


def save(path, cells, **more):
    metadata = more.pop('metadata', {'kernelspec': {'name': 'python3', 'display_name': 'Python'}})
    body = {'cells': cells, 'metadata': metadata, 'nbformat': 4, 'nbformat_minor': 5} | more
    path.write_text(json.dumps(body))
    return path


def students_cells(**answers):
    """The teacher's cells with other sources; an underscore in a keyword is a hyphen."""
    cells = teachers_cells()
    for cell in cells:
        cell['source'] = answers.get(cell['id'].replace('-', '_'), cell['source'])
    return cells


@pytest.fixture(scope='module')
def said():
    """The exercises of these tests; what the reports said, by author."""
    reports = {}

    @exercise('t-double')
    def judge(answer):
        if not close(as_tensor(ask(answer, torch.arange(3.0)), (3,)), torch.arange(3.0) * 2):
            raise Wrong('That is not twice as much.')
        return 'Twice as much.'

    @exercise('t-report', points=2)
    def judge_report(answer):
        author, what, seen = answer
        reports[author] = what, seen
        return 'Read.'

    yield reports
    del EXERCISES['t-double'], EXERCISES['t-report']


@pytest.fixture
def teacher(tmp_path):
    return read_teacher(save(tmp_path / 'teacher.ipynb', teachers_cells()))


# A class, graded in one go.

ANSWERS = {  # to t-double: what it has for the answer, and what its reason must say
    'loop': ('while True:\n    pass', 'It ran for more than 4 s.'),
    'stubborn': (
        'def double(x):\n    while True:\n        try:\n            time.sleep(60)\n'
        '        except BaseException:\n            pass',
        'It ran for more than 4 s.',
    ),
    'greedy': ('torch.ones(5 * 10**9)', 'more was asked for than the 1 GB that are allowed'),
    'growing': (
        'kept = []\nwhile True:\n    kept.append(torch.ones(10**7))',
        'It used more than 1 GB of memory.',
    ),
    'loud': ("for _ in range(1000):\n    print('x' * 10**6)", 'printed or wrote more than 64 MB'),
    'forks': ('while True:\n    os.fork()', 'It had more than 32 processes at a time.'),
    'exits': ('def double(x):\n    os._exit(0)', 'It ended its own process (exit code 0).'),
    'kills': ('os.kill(os.getpid(), 9)', 'It ended its own process (signal 9).'),
    'forger': (
        'for number in range(3, 20):\n    try:\n        os.write(number, bytes(100))\n'
        '    except OSError:\n        pass',
        'It wrote into the line to the grader.',
    ),
    'cheat': (
        "d2l.check = lambda name, _: print(f'✓ {name}: right.')\n"
        'from d2l_gan.classroom import checks, worker\n'
        "checks.verdict = lambda *_: checks.Verdict(True, 'right')\n"
        "worker.Worker.evaluate = lambda *_: checks.Verdict(True, 'right')\n"
        'double = abs',
        'That is not twice as much.',
    ),
    'broken': ('def double(x:\n    return 2 * x', 'SyntaxError'),
    'empty': (STUB, 'put its body in the place of the `...`'),
}
SPY = """
places = [at for at in ('..', '../..', *{places!r}) if os.path.isdir(at)]
found = [name for at in places for name in os.listdir(at)]
def read(at):
    try:
        return open(at).read()
    except OSError as error:
        return type(error).__name__
report = 'spy', [found, [read(path) for path in {paths!r}], dict(os.environ)]
"""
CALLER = """
import socket
said = []
for address in (('127.0.0.1', {port}), ('1.1.1.1', 53)):
    try:
        socket.create_connection(address, timeout=2)
        said.append('connected')
    except OSError as error:
        said.append(type(error).__name__)
report = 'caller', said
"""
VANDAL = """
import shutil
assert os.getcwd() == '/submission'  # never on a machine that is somebody's
assert open('/proc/mounts').read().startswith('tmpfs / tmpfs ro')
for path in {paths!r}:
    try:
        os.unlink(path)
    except OSError:
        pass
for path in ('/home', '/tmp', '/etc', *{places!r}):
    shutil.rmtree(path, ignore_errors=True)
report = 'vandal', [os.path.exists(path) for path in {paths!r}]
shutil.rmtree('/', ignore_errors=True)  # more than four seconds, perhaps
"""


@pytest.fixture(scope='module')
def graded(said, tmp_path_factory):
    """Rows of a class of hostile, broken and harmless submissions, graded in one go."""
    import socket

    home = tmp_path_factory.mktemp('class')
    folder, solutions = home / 'submitted', home / 'solutions'
    folder.mkdir()
    solutions.mkdir()
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(tempfile.NamedTemporaryFile(dir=Path.home(), prefix='.canary-'))
        server = stack.enter_context(socket.create_server(('127.0.0.1', 0)))
        canaries = [home / 'canary', folder / 'canary.txt', solutions / 'canary', Path(own.name)]
        for canary in canaries:
            canary.write_text('alive')
        save(solutions / 'teacher.ipynb', teachers_cells())
        for name, (answer, _) in ANSWERS.items():
            save(folder / f'{name}.ipynb', students_cells(double_answer=answer))
        cheat = students_cells(double_answer=ANSWERS['cheat'][0], double_check="print('✓ right')")
        save(folder / 'cheat.ipynb', cheat)
        save(folder / '=right.ipynb', students_cells(report_answer="report = 'right', [1, 2.5]"))
        (folder / 'garbage.ipynb').write_text('{"cells": [')
        if CLOSED:
            paths = [str(p) for p in [*canaries, folder / 'loop.ipynb', home / 'marks.csv']]
            places = [str(p) for p in (home, folder, solutions, Path.home())]
            given = {'paths': paths, 'places': places, 'port': server.getsockname()[1]}
            for name, report in (('spy', SPY), ('caller', CALLER), ('vandal', VANDAL)):
                cells = students_cells(report_answer=report.format(**given))
                save(folder / f'{name}.ipynb', cells)
        start = time.monotonic()
        grade.main(arguments(folder, solutions, home))
        print(f'graded in {time.monotonic() - start:.0f} s')
        alive = [canary.exists() and canary.read_text() == 'alive' for canary in canaries]
    return rows_of(home / 'marks.csv'), alive, (folder, solutions, home)


def arguments(folder, solutions, home, *more):
    out = ['--solutions', str(solutions), '--out', str(home / 'marks.csv')]
    return [str(folder), *out, '--cell', '4', '--memory', '1', *more]


def rows_of(path):
    with open(path, newline='', encoding='utf-8') as file:
        return {row['file'].removesuffix('.ipynb'): row for row in csv.DictReader(file)}


@pytest.mark.slow
@pytest.mark.parametrize('name', ANSWERS)
def test_a_bad_answer_loses_its_exercise_for_its_reason_and_no_other(graded, name):
    row = graded[0][name]
    assert (row['t-double'], row['t-report'], row['points'], row['of']) == ('0', '2', '2', '3')
    assert row['reasons'].startswith('t-double: ')
    assert ANSWERS[name][1] in row['reasons']
    assert row['notebook'] == 'teacher.ipynb'


@pytest.mark.slow
def test_a_right_one_has_all_points_and_data_comes_as_it_is(graded, said):
    row = graded[0]["'=right"]
    assert (row['points'], row['reasons'], row['notes']) == ('3', '', '')
    assert said['right'] == ([1, 2.5], True), 'a cell that waits for an exercise went on'


@pytest.mark.slow
def test_an_edited_check_changes_nothing_and_is_noted(graded):
    assert "double-check was edited; the teacher's was used." in graded[0]['cheat']['notes']


@pytest.mark.slow
def test_what_is_no_notebook_has_a_row(graded):
    row = graded[0]['garbage']
    assert (row['points'], row['t-double']) == ('0', '')
    assert row['reasons'] == 'This is no notebook: it is not the JSON that Jupyter saves.'
    assert 'its name ends in .txt' in graded[0]['canary.txt']['reasons']


@pytest.mark.slow
@closed_only
def test_a_submission_sees_no_other_no_solution_and_no_marks(graded, said):
    (found, read, environment), _ = said['spy']
    assert set(read) == {'FileNotFoundError'}
    assert not {'submitted', 'solutions', 'marks.csv', 'loop.ipynb', 'teacher.ipynb'} & set(found)
    assert environment['HOME'] == '/submission'
    assert not set(environment) & {'PWD', 'PYTEST_CURRENT_TEST', 'USER'}


@pytest.mark.slow
@closed_only
def test_a_submission_has_no_network(graded, said):
    assert said['caller'][0] == ['OSError', 'OSError']
    assert all(row['isolation'].startswith('closed') for row in graded[0].values() if row['of'])


@pytest.mark.slow
@closed_only
def test_what_it_deletes_is_not_there_for_it(graded, said):
    rows, alive, (folder, solutions, _) = graded
    assert alive == [True] * 4
    assert said['vandal'][0] == [False] * 6
    assert len(list(folder.iterdir())) == len(rows), 'a submission is gone'
    assert (solutions / 'teacher.ipynb').exists()
    assert rows['vandal']['points'] == '3'


@pytest.mark.slow
def test_nothing_of_it_is_left_running(graded):
    for process in psutil.process_iter(['cmdline']):
        assert 'd2l_gan.classroom.worker' not in (process.info['cmdline'] or [])


@pytest.mark.slow
def test_a_second_call_grades_only_what_is_new_or_changed(graded, capsys):
    before, _, places = graded
    grade.main(arguments(*places))
    assert 'files, 0 to grade' in capsys.readouterr().out
    (places[0] / 'garbage.ipynb').write_text('')
    (places[0] / 'late.ipynb').write_text('[]')
    grade.main(arguments(*places))
    assert 'files, 2 to grade' in capsys.readouterr().out
    after = rows_of(places[2] / 'marks.csv')
    assert after.pop('late')['reasons'] == 'This is no notebook: it is JSON, but has no cells.'
    assert after['garbage']['reasons'] == 'The file is empty.'
    assert {**after, 'garbage': before['garbage']} == before
    cells = [*teachers_cells(), text('more', 'A word more.')]
    save(places[1] / 'teacher.ipynb', cells)
    names = {path.name: path for path in places[0].iterdir()}
    marks = grade.Marks(places[2] / 'marks.csv', [])
    sources = [places[1] / 'teacher.ipynb', *grade.CHECKS]
    digest = grade.digest_of(names['loop.ipynb'], *sources)
    assert not marks.has('loop.ipynb', digest), "the teacher's notebook has changed"


@pytest.mark.slow
def test_without_namespaces_there_are_limits_and_the_teacher_is_told(said, tmp_path, capsys):
    folder, solutions = tmp_path / 'submitted', tmp_path / 'solutions'
    folder.mkdir()
    solutions.mkdir()
    save(solutions / 'teacher.ipynb', teachers_cells())
    sleepers = (
        "for _ in range(40):\n    if os.fork() == 0:\n        os.execvp('sleep', ['sleep', '4321'])"
    )
    for name, answer in {
        'sleepers': sleepers,
        'loop': ANSWERS['loop'][0],
    }.items():
        save(folder / f'{name}.ipynb', students_cells(double_answer=answer))
    grade.main(arguments(folder, solutions, tmp_path, '--open'))
    out = capsys.readouterr().out
    assert 'Open: network and files within reach (as asked).' in out
    rows = rows_of(tmp_path / 'marks.csv')
    assert 'more than 32 processes' in rows['sleepers']['reasons']
    assert 'more than 4 s' in rows['loop']['reasons']
    assert [row['points'] for row in rows.values()] == ['2', '2']
    assert rows['loop']['isolation'].startswith('open: network and files within reach')
    left = [p.info['cmdline'] for p in psutil.process_iter(['cmdline'])]
    assert ['sleep', '4321'] not in left


@pytest.mark.slow
def test_a_stopped_run_leaves_what_it_knows_and_no_process(tmp_path):
    folder, solutions = tmp_path / 'submitted', tmp_path / 'solutions'
    folder.mkdir()
    solutions.mkdir()
    check = code('best-D-check', "d2l.check('best-D', best_D)", 'check')
    answer = code('best-D-answer', 'best_D = abs', 'solution')
    save(solutions / 'teacher.ipynb', [code('setup', 'import d2l_gan as d2l'), answer, check])
    save(folder / 'b.ipynb', [code('best-D-answer', 'import time\ntime.sleep(3000)')])
    (folder / 'a.ipynb').write_text('no notebook')
    where = ['--solutions', str(solutions), '--out', str(tmp_path / 'marks.csv')]
    command = [sys.executable, '-m', 'd2l_gan.grade', str(folder), *where, '--cell', '60']
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (workers := workers_of(process)) or not (tmp_path / 'marks.csv').exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=20) == 130
    gone, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive
    assert list(rows_of(tmp_path / 'marks.csv')) == ['a']
    assert list(tmp_path.glob('.d2l-*')) == []


def workers_of(process):
    with contextlib.suppress(psutil.Error):
        return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.slow
def test_checks_of_two_submissions_do_not_share_random_numbers():
    limits = Limits()
    with Student(find_isolation(), Time(limits)) as student:
        student.run('double = lambda x: 2 * x')
        remote = student.evaluate('double')
        drawn = []
        for disturb in (False, True):
            with judging():
                first = torch.rand(2)
                assert torch.equal(remote(first), 2 * first)
                if disturb:
                    remote(torch.ones(1))
                drawn.append(torch.rand(2))
        assert torch.equal(*drawn)
        assert torch.equal(remote(x=torch.ones(2)), 2 * torch.ones(2))
        with pytest.raises(Exception, match='unexpected keyword'):
            remote(y=1)
        with pytest.raises(Wrong, match='cannot be sent'):
            remote(lambda: 0)
        student.run('again = lambda f, x: f(f(x))')
        assert student.evaluate('again')(remote, 3) == 12, 'a stand-in goes back as what it is'
        late = Time(Limits(total=0.0))
        student._clock = late
        with pytest.raises(Ended, match='time for one submission'):
            student.run('pass')


# What is found in a notebook.


def found(tmp_path, teacher, cells, **more):
    path = save(tmp_path / 'any name.ipynb', cells, **more)
    return read_submission(path, [teacher])


def test_a_plain_submission_has_its_answers_and_no_note(tmp_path, teacher):
    read = found(tmp_path, teacher, students_cells(double_answer='double = 1'))
    assert read.answers == {'double-answer': ['double = 1'], 'report-answer': [REPORT]}
    assert read.notes == []


def test_a_copied_cell(tmp_path, teacher):
    cells = students_cells(double_answer=STUB)
    same = found(tmp_path, teacher, [*cells[:4], code('double-answer', RIGHT), *cells[4:]])
    new = found(
        tmp_path, teacher, [*cells[:4], code('a1b2', 'def double(x):\n    return x'), *cells[4:]]
    )
    assert same.answers['double-answer'] == [RIGHT]
    assert new.answers['double-answer'] == ['def double(x):\n    return x']
    assert same.notes == ['double-answer is there 2 times; the last one counts.']
    assert new.notes == ['double-answer was found by what it defines, not by its id.']
    twice = [*students_cells(), code('double-answer', 'double = 2')]
    assert found(tmp_path, teacher, twice).answers['double-answer'] == ['double = 2']
    empty = [*students_cells(), code('double-answer', '  ')]
    assert found(tmp_path, teacher, empty).answers['double-answer'] == [RIGHT]


def test_a_split_cell(tmp_path, teacher):
    cells = students_cells()
    helper = code('new', 'two = 2')
    after = found(tmp_path, teacher, [*cells[:4], helper, *cells[4:]])
    before = found(tmp_path, teacher, [*cells[:3], helper, *cells[3:]])
    assert after.answers['double-answer'] == [RIGHT, 'two = 2']
    assert before.answers['double-answer'] == ['two = 2', RIGHT]
    assert after.notes == before.notes == ['double-answer is split; its parts were put together.']
    parts = [code('x', 'two = 2'), code('y', 'double = two.__mul__')]
    lost = found(tmp_path, teacher, [*cells[:3], *parts, *cells[4:]])
    assert lost.answers['double-answer'] == ['two = 2', 'double = two.__mul__']
    scratch = [*cells[:5], code('s', '1 / 0'), *cells[5:]]
    assert found(tmp_path, teacher, scratch).answers['double-answer'] == [RIGHT]


def test_reordered_and_deleted_cells(tmp_path, teacher):
    cells = teachers_cells()
    swapped = found(tmp_path, teacher, [*cells[7:], *cells[:7]])
    assert swapped.answers['report-answer'] == [REPORT]
    assert swapped.notes == ['Its answers are in another order; they were run in the right one.']
    gone = found(tmp_path, teacher, cells[5:])
    assert gone.answers['double-answer'] == []
    assert gone.notes == [
        'double-answer is missing.',
        "double-check was deleted; the teacher's was used.",
    ]
    turned = [*cells[:3], text('double-answer', RIGHT), *cells[4:]]
    assert 'no code cell any more' in found(tmp_path, teacher, turned).notes[0]


def test_ids_that_are_lost_and_those_of_colab(tmp_path, teacher):
    cells = students_cells(double_answer='# mine\n' + RIGHT)
    for cell in cells:
        del cell['id']
    lost = found(tmp_path, teacher, cells, nbformat_minor=0)
    assert lost.answers == {'double-answer': ['# mine\n' + RIGHT], 'report-answer': [REPORT]}
    cells[3] = {**cells[3], 'source': 'double = 1', 'metadata': {'id': 'double-answer'}}
    assert found(tmp_path, teacher, cells).answers['double-answer'] == ['double = 1']


def test_a_notebook_of_version_3(tmp_path, teacher):
    old = nbformat.convert(
        nbformat.from_dict(
            json.loads(
                Path(
                    save(tmp_path / 'new.ipynb', students_cells(double_answer='double = 3'))
                ).read_text()
            )
        ),
        3,
    )
    path = tmp_path / 'old.ipynb'
    path.write_text(json.dumps(old))
    read = read_submission(path, [teacher])
    assert read.answers['double-answer'] == ['double = 3']
    assert read.notes[0] == 'It is a notebook of version 3; it was converted.'


def test_another_kernel_and_another_notebook(tmp_path, teacher):
    read = found(tmp_path, teacher, teachers_cells(), metadata={'kernelspec': {'name': 'ir'}})
    assert read.notes == ["Its kernel is called 'ir'; it was graded with Python here."]
    with pytest.raises(Unreadable, match='None of the exercises'):
        found(tmp_path, teacher, [code('setup', 'import torch')])
    other = read_teacher(
        save(
            tmp_path / 'other.ipynb',
            [
                teachers_cells()[1],
                code('z-answer', 'z = 1', 'solution'),
                code('z-check', '', 'check'),
            ],
        )
    )
    path = save(tmp_path / 'x.ipynb', [teachers_cells()[1], code('z-answer', 'z = 2')])
    assert read_submission(path, [teacher, other]).teacher is other


@pytest.mark.parametrize(
    ('name', 'content', 'says'),
    [
        ('a.ipynb', b'', 'empty'),
        ('a.ipynb', b'\xff\xfe\x00', 'not the JSON'),
        ('a.ipynb', b'[' * 100_000, 'not the JSON'),
        ('a.ipynb', b'[1]', 'has no cells'),
        ('a.ipynb', b'{"cells": [{"cell_type": 3}]}', 'has no cells'),
        ('a.ipynb', b'{"nbformat": 3, "worksheets": 7}', 'has no cells'),
        ('a.pdf', b'%PDF', r'ends in \.pdf'),
        ('a', b'', 'ends in nothing'),
    ],
)
def test_what_is_no_notebook_is_told_why(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Unreadable, match=says):
        read_cells(tmp_path / name)


def test_links_pipes_and_folders_are_not_read(tmp_path):
    (tmp_path / 'folder.ipynb').mkdir()
    (tmp_path / 'link.ipynb').symlink_to('/etc/passwd')
    os.mkfifo(tmp_path / 'pipe.ipynb')
    for path in tmp_path.iterdir():
        with pytest.raises(Unreadable, match='no plain file'):
            read_cells(path)


def test_what_a_check_cell_checks(teacher):
    cells = [cell for cell in teacher.cells if checks_of(cell)]
    assert [checks_of(cell) for cell in cells] == [
        [('t-double', 'double')],
        [('t-report', '(*report, seen)')],
    ]


# What goes over the line, and into the table.


def test_values_come_as_they_went():
    values = [None, True, 3, float('inf'), 'é\ud800', ..., (1, [2, {'a': (3,), 4: None}]), b'']
    for value in values[:-1]:
        assert sent(value) == value
    assert type(sent(b'')).__name__ == 'bytes'
    assert sent(print)(2) == 'called with 2'
    for tensor in (
        torch.ones(2, 0),
        torch.tensor(3),
        torch.eye(2).bfloat16().T,
        torch.tensor([1j]),
    ):
        back = sent(tensor.requires_grad_(tensor.is_floating_point()))
        assert torch.equal(back, tensor) and back.dtype == tensor.dtype
    with pytest.raises(wire.TooLarge):
        wire.encode(torch.ones(2**25), len)
    cycle = []
    cycle.append(cycle)
    assert 'other' in str(wire.encode(cycle, len))


def sent(value):
    size = wire.HEAD.size
    message = wire.encode(value, lambda function: 0)
    length, _ = wire.HEAD.unpack(message[:size])
    call = lambda number: lambda x: f'called with {x}'  # noqa: E731
    return wire.decode(message[size : size + length], message[size + length :], call)


@pytest.mark.parametrize(
    'message',
    [
        b'',
        b'[1]',
        b'{}',
        b'{"is": "module"}',
        b'{"is": "function", "number": "x"}',
        b'{"is": "tensor", "dtype": "float32", "shape": [1000000000]}',
        b'{"is": "tensor", "dtype": "float32", "shape": [-1]}',
        b'{"is": "tensor", "dtype": "load", "shape": []}',
        b'{"is": "dict", "parts": [[{"is": "list", "parts": []}, 1]]}',
        b'[' * 10_000,
        b'{"is": "list", "parts": [' * 50 + b']}' * 50,
    ],
)
def test_what_is_no_value_is_refused(message):
    with pytest.raises(wire.Garbled):
        wire.decode(message, b'', len)


def test_no_cell_of_the_table_is_a_formula_or_breaks_it(tmp_path):
    assert [grade.harmless(t) for t in ('=1', '+1', '-1', '@a', 'a=1', '0')] == [
        "'=1",
        "'+1",
        "'-1",
        "'@a",
        'a=1',
        '0',
    ]
    marks = grade.Marks(tmp_path / 'marks.csv', ['e'])
    marks.add({'file': '=a.ipynb', 'reasons': tidy('a\n"b"\x00,\ud800 c'), 'digest': '7'})
    again = grade.Marks(tmp_path / 'marks.csv', ['e'])
    assert again.has('=a.ipynb', '7') and not again.has('=a.ipynb', '8')
    assert rows_of(tmp_path / 'marks.csv')["'=a"]['reasons'] == 'a "b" , c'


def test_what_is_missing_is_said_with_the_cure(tmp_path):
    with pytest.raises(SystemExit, match='--solutions FOLDER'):
        grade.main([str(tmp_path), '--solutions', str(tmp_path)])
    with pytest.raises(SystemExit, match='is no folder'):
        grade.main([str(tmp_path / 'none')])
    save(tmp_path / 'x.ipynb', [code('c', "d2l.check('no-such', 1)", 'check')])
    with pytest.raises(SystemExit, match='does not know'):
        grade.main([str(tmp_path), '--solutions', str(tmp_path)])
