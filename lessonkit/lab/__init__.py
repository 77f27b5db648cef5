"""Lessons: copied and opened, their exercises, and pages of them."""
from .copy import copy_lessons, open_lab
from .exercises import exercise, progress

__all__ = [
    "copy_lessons", "exercise", "open_lab", "progress",
]
