"""The code of a completion: what stands between fences of backticks or tildes, however they are written. Imports the standard library alone."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

LONGEST_READ = 100_000  # characters of a completion that are read, from its end

# Before a fence: indentation, marks of quotation, and the mark of a list's item.
_FENCE = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)")
_BEHIND_TEXT = re.compile(r"(?<![`~])(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>(?:python|py)[\d.]*)[ \t]*$", re.IGNORECASE)
_PYTHON = re.compile(r"(?:i?python|py)[\d.]*$", re.IGNORECASE)
_LANGUAGE = re.compile(r"[{.\s]*([A-Za-z0-9_.+#]*)")
_QUOTE = re.compile(r"^[ \t]*(?:>[ \t]?)+")
_STARTS_CODE = re.compile(
    r"(?:def|class|import|from|async|if|for|while|with|try|return|print|pass|raise|assert)\b|[@#]|[A-Za-z_][\w.]*[ \t]*(?:[=(\[:]|[-+*/]=)"
)


@dataclass
class Block:
    """One fenced block: the first word behind its fence in lower case, what it holds, and whether a fence closes it."""

    language: str
    code: str
    closed: bool = True


def read_code(completion: str) -> str:
    """The Python code of a completion.

    The last block that says it is Python (`python`, `Python3`, `py`, `{.python}`, `python title="a.py"`), else the last that names no language, else the last
    of any; of several, one that holds something. Fences are three or more backticks or tildes, may be indented or quoted with their block, and end at a line of
    at least as many; a fence inside a triple-quoted string is part of the string. A block that nothing closes goes to the end, and a fence that nothing opened
    ends what stands before it. Without fences the whole completion is code. What all lines are indented by is taken off, and line ends are `\\n`.

    Args:
        completion: of which the last `LONGEST_READ` characters are read.
    """
    text = completion[-LONGEST_READ:].removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    blocks = read_blocks(text)
    if not blocks:
        return textwrap.dedent(text)
    if len(blocks) == 1 and not blocks[0].closed and not blocks[0].language and (before := _before_closing(text, blocks[0])) is not None:
        return textwrap.dedent(before)
    filled = [block for block in blocks if block.code.strip()] or blocks
    python = [block for block in filled if _PYTHON.match(block.language)]
    unnamed = [block for block in filled if not block.language]
    return textwrap.dedent((python or unnamed or filled)[-1].code)


def read_blocks(text: str, *, within: bool = False) -> list[Block]:
    """Every fenced block of a text with line ends `\\n`, in order; blocks of Markdown give way to those that they hold, unless they are `within` one."""
    lines = text.split("\n")
    blocks: list[Block] = []
    place = 0
    while place < len(lines):
        line = lines[place]
        place += 1
        opening = _FENCE.match(line) or _BEHIND_TEXT.search(line)
        if opening is None:
            continue
        fence, info = opening["fence"], opening["info"].strip()
        if fence[0] == "`" and "`" in info:  # code within a line, or a whole block on one
            inside, closing, rest = info.rpartition(fence)
            if closing and not rest.strip() and "`" not in inside:
                first, _, more = inside.partition(" ")
                blocks.append(Block("python", more) if _PYTHON.match(first) else Block("", inside))
            continue
        language = _LANGUAGE.match(info)[1].lower()
        quoted, width = ">" in line[: opening.start("fence")], opening.start("fence") if opening.re is _FENCE else 0
        end = _closing(lines, place, fence, python=not language or bool(_PYTHON.match(language)))
        content = [_unindented(each, quoted, width) for each in lines[place : len(lines) if end is None else end]]
        if end is not None and not _FENCE.match(lines[end]):  # the fence stands behind the last line of the code
            content.append(_unindented(lines[end].rstrip().rstrip(fence[0]), quoted, width))
        block = Block(language, "\n".join(content) + "\n" * bool(content), end is not None)
        nested = read_blocks(block.code, within=True) if language in ("markdown", "md") and not within else []
        blocks += nested or [block]
        place = len(lines) if end is None else end + 1
    return blocks


def _closing(lines: list[str], start: int, fence: str, *, python: bool) -> int | None:
    """The line that closes a block whose content begins at `start`: outside triple-quoted strings where one is there, else the first; None where none is."""
    first, quote = None, ""
    for place in range(start, len(lines)):
        line = lines[place]
        bare = _QUOTE.sub("", line, count=1).strip()
        if _closes(bare, fence):
            if not (python and quote):
                return place
            first = place if first is None else first
        if python:
            quote = _open_quote(line, quote)
    return first


def _closes(line: str, fence: str) -> bool:
    mark = fence[0]
    if line.startswith(fence):
        return not line.strip(mark)
    end = len(line) - len(line.rstrip(mark))
    return mark == "`" and end >= len(fence) and line.count("`") == end and not line.startswith("#")


def _open_quote(line: str, quote: str) -> str:
    """The triple quote that is open at the end of a line of Python, where `quote` was open at its start; empty where none is."""
    place = 0
    while place < len(line):
        if quote:
            if line[place] == "\\":
                place += 2
            elif line.startswith(quote, place):
                place, quote = place + 3, ""
            else:
                place += 1
        elif line[place] == "#":
            break
        elif line[place] in "\"'":
            if line.startswith(line[place] * 3, place):
                quote = line[place] * 3
                place += 3
            else:
                mark, place = line[place], place + 1
                while place < len(line) and line[place] != mark:
                    place += 1 + (line[place] == "\\")
                place += 1
        else:
            place += 1
    return quote


def _unindented(line: str, quoted: bool, width: int) -> str:
    if quoted:
        return _QUOTE.sub("", line, count=1)
    indent = len(line) - len(line.lstrip(" \t"))
    return line[min(indent, width) :]


def _before_closing(text: str, block: Block) -> str | None:
    """What stands before the one fence of a text where that fence closes it: nothing comes after it, or code begins the text; else None."""
    before = text[: len(text) - len(block.code)]
    lines = before.split("\n")
    fence = next(place for place, line in enumerate(lines) if _FENCE.match(line))
    code = "\n".join(lines[:fence])
    if not code.strip():
        return None
    first = code.strip().split("\n", 1)[0]
    return code + "\n" if not block.code.strip() or _STARTS_CODE.match(first) else None
