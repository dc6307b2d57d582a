"""Quick questions, as text and by code; by keyboard, in a real page: `test_browser`."""

import itertools
import json

import pytest

from d2l_gan.classroom.questions import LETTERS, QuickQuestions

BOTH = pytest.mark.parametrize('chapter', (1, 2))


@BOTH
def test_six_questions_of_four_answers_each_with_its_own_reason(chapter):
    questions = QuickQuestions(chapter)
    assert len(questions.questions) == 6
    for number, letters in itertools.product(range(1, 7), [LETTERS]):
        options = questions.options(number)
        assert len(set(options)) == 4
        said = [questions.say(number, option) for option in options]
        assert len(set(said)) == 4 == len(letters)
        assert sum(s.startswith('Right. ') for s in said) == 1
        assert sum(s.startswith('Not quite. ') for s in said) == 3


def test_the_right_answer_has_no_favourite_place():
    places = [
        questions.options(number).index(questions.questions[number - 1]['right'])
        for questions in map(QuickQuestions, (1, 2))
        for number in range(1, 7)
    ]
    assert max(map(places.count, range(4))) <= 5
    assert len(set(places)) == 4


@BOTH
def test_printed_it_is_plain_and_gives_nothing_away(chapter):
    questions = QuickQuestions(chapter)
    text = str(questions)
    bundle = questions._repr_mimebundle_()
    assert bundle['text/plain'] == text
    assert bundle['application/vnd.jupyter.widget-view+json']['model_id'] == questions.model_id
    everything = text + json.dumps(bundle)
    for number, question in enumerate(questions.questions, start=1):
        assert f'{number}. {question["question"]}' in text
        assert all(f') {option}\n' in text + '\n' for option in questions.options(number))
        assert question['why'] not in everything
        assert all(reason not in everything for reason in question['wrong'].values())


def test_an_answer_from_code_is_judged_and_shown_on_the_page(capsys):
    questions = QuickQuestions(1)
    right = questions.options(2).index('0.75')
    questions.answer(2, LETTERS[right])
    assert capsys.readouterr().out == 'Right. p / (p + q) = 0.3 / 0.4.\n'
    assert 'Right. p / (p + q)' in questions.said[1].value
    assert '1 of 6 right' in questions.total.value
    questions.answer(2, LETTERS[questions.options(2).index('3')])
    assert capsys.readouterr().out.startswith('Not quite. That is p / q.')
    assert '0 of 6 right' in questions.total.value


def test_a_click_is_an_answer():
    questions = QuickQuestions(2)
    questions.choices[0].value = '16'
    assert 'Right. ' in questions.said[0].value
    assert questions.right == {1: True}


@pytest.mark.parametrize('given', ((0, 'a'), (7, 'a'), (1, 'e'), (1, 'ab'), (1, '')))
def test_an_answer_that_cannot_be_is_named(given):
    with pytest.raises(ValueError, match='questions are 1 to 6 and answers a to d'):
        QuickQuestions(1).answer(*given)


def test_a_chapter_that_is_not_there_is_named():
    with pytest.raises(ValueError, match='chapters 1 and 2; got 3'):
        QuickQuestions(3)
