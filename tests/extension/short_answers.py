"""A reward of the user's own, at the top of a module so that a child process finds it; the child imports the module, and this one is light."""


def prefers_short(problem, completion: str) -> float:
    return 1.0 if len(completion) < 12 else 0.0
