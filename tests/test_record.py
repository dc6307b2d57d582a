"""The record on its own: what is kept, thinned, gone back to and forgotten."""

import pytest

from d2l_gan.record import EVERY, Record


def play(record, begin, end, target='a', step=1):
    """Keep a moment whenever one is due, and the last."""
    for at in range(begin, end + 1, step):
        if not record.states or record.is_due(at) or at == end:
            record.add({'step': at}, {'target': target, 'state': at})


def steps(record):
    return [figures['step'] for figures in record.figures]


def test_a_moment_is_kept_for_every_few_steps():
    record = Record(most=100)
    play(record, 0, 45)
    assert steps(record) == [0, 10, 20, 30, 40, 45]
    assert (record.at, record.every) == (5, EVERY)
    assert [state['state'] for state in record.states] == steps(record)


def test_a_long_game_is_thinned_evenly_and_keeps_its_first_and_last_moment():
    record = Record(most=20)
    play(record, 0, 1000)
    found = steps(record)
    assert len(found) <= 21 and (found[0], found[-1]) == (0, 1000)
    gaps = {b - a for a, b in zip(found, found[1:], strict=False)}
    assert max(gaps) == record.every and gaps <= {record.every, found[-1] - found[-2]}
    assert record.at == len(found) - 1
    assert [state['state'] for state in record.states] == found


def test_going_back_forgets_nothing_until_the_game_goes_on():
    record = Record(most=100)
    play(record, 0, 50)
    assert record.visit(2)['state'] == 20
    assert record.at == 2 and len(record.figures) == 6
    assert record.visit(-1)['state'] == 50
    record.visit(2)
    record.forget_the_future()
    assert steps(record) == [0, 10, 20]
    for index in (3, -4):
        with pytest.raises(IndexError, match=rf'record {index}: there are 3, from 0'):
            record.visit(index)
    assert record.at == 2


def test_a_moment_out_of_step_is_dropped_once_the_game_is_thinned():
    """While playing, the present is kept frame by frame; it must not push out the past."""
    record = Record(most=20)
    for at in range(0, 1500, 5):
        if record.states:
            record.forget_the_future()
        record.add({'step': at}, {'target': 'a', 'state': at})
    assert len(record.figures) <= 21
    assert (steps(record)[0], steps(record)[-1]) == (0, 1495)
    gaps = [b - a for a, b in zip(steps(record), steps(record)[1:], strict=False)]
    assert record.every <= max(gaps) <= 2 * record.every


def test_the_first_moment_is_never_dropped():
    record = Record(most=20)
    play(record, 0, 500)
    assert record.every > EVERY
    record.visit(0)
    record.forget_the_future()
    assert steps(record) == [0]


def test_the_window_ends_now_and_holds_one_target():
    record = Record(most=100)
    play(record, 0, 400)
    assert [figures['step'] for figures in record.window()] == list(range(110, 401, 10))
    assert [figures['step'] for figures in record.window(3)] == [380, 390, 400]
    record.visit(1)
    assert [figures['step'] for figures in record.window()] == [0, 10]
    record.visit(-1)
    play(record, 401, 421, target='b')
    assert [figures['step'] for figures in record.window()] == [410, 420, 421]
