"""Verifiers of one's own, for test_text_references.py: child processes import this module."""


def half(problem, completion: str) -> float:
    return 1.0 if completion == "1" else 0.0


def minus(problem, completion: str) -> float:
    return -abs(len(completion) - len(problem.answer))
