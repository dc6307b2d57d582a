"""Exercises that check themselves, quick questions, and the marks of a class."""

from d2l_gan.classroom import chapter1, chapter2
from d2l_gan.classroom.checks import EXERCISES, check, solved
from d2l_gan.classroom.questions import QuickQuestions
