"""How scoring ended. Apart from the other records, so that the child processes of verifiers need no torch."""

from enum import IntEnum


class Status(IntEnum):
    """How the scoring of one row ended. Only `OK` carries a reward; the others are left out of groups and losses, and counted."""

    OK = 0
    TIMEOUT = 1
    CRASHED = 2
    MALFORMED = 3  # the verifier's own answer could not be read
