"""A reward for untrained models, in a module that imports nothing: child processes load it."""


def by_length(problem, completion):
    """Tells the answers of an untrained model apart."""
    return float(len(completion) % 3)


by_length.trusted = True
