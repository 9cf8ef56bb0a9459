"""Fenced code as language models write it, each form by hand."""

from __future__ import annotations

import pytest

from operant.worlds.text.fences import LONGEST_READ, read_blocks, read_code

F = "def f(x):\n    return x + 1\n"
DOCUMENTED = 'def f(x):\n    """Adds.\n\n    ```python\n    f(1)\n    ```\n    """\n    return x + 1\n'
COMPLETIONS = {
    "python": f"```python\n{F}```",
    "upper case": f"```Python\n{F}```",
    "python3": f"```python3\n{F}```",
    "python3.11": f"```python3.11\n{F}```",
    "py": f"```py\n{F}```",
    "ipython": f"```ipython3\n{F}```",
    "a space before the word": f"``` python\n{F}```",
    "a space behind the word": f"```python   \n{F}```  ",
    "attributes": f'```python title="a.py"\n{F}```',
    "a file's name": f"```python:a.py\n{F}```",
    "a class": f"```{{.python .numberLines}}\n{F}```",
    "braces": f"```{{python}}\n{F}```",
    "no word": f"```\n{F}```",
    "another word": f"```code\n{F}```",
    "tildes": f"~~~python\n{F}~~~",
    "tildes without a word": f"~~~\n{F}~~~",
    "longer": f"````python\n{F}````",
    "longer at the end": f"```python\n{F}`````",
    "only the closing one": f"{F}```",
    "only the closing one, and prose": f"{F}```\nIt adds one.",
    "only the opening one": f"```python\n{F}",
    "only the opening one, no word": f"```\n{F}",
    "only the opening one behind prose": f"Here it is:\n```\n{F}",
    "none": F,
    "none, indented": "    def f(x):\n        return x + 1\n",
    "behind prose on its line": f"Sure! ```python\n{F}```",
    "closed behind the code": f"```python\n{F.rstrip()}```",
    "in a list": "1. So:\n   ```python\n   def f(x):\n       return x + 1\n   ```\n",
    "behind a list's mark": "- ```python\n  def f(x):\n      return x + 1\n  ```\n",
    "in a list by a tab": "1.\tSo:\n\t```python\n\tdef f(x):\n\t    return x + 1\n\t```\n",
    "in a list, opened at the margin": "1. So:\n```python\n   def f(x):\n       return x + 1\n```\n",
    "quoted": "> ```python\n> def f(x):\n>     return x + 1\n> ```\n",
    "line ends of Windows": f"```python\n{F}```\n".replace("\n", "\r\n"),
    "line ends of old": f"```python\n{F}```\n".replace("\n", "\r"),
    "a byte order mark": f"\ufeff{F}",
    "the last of several": f"```python\nx\n```\nBetter:\n```python\n{F}```",
    "before an output block": f"```python\n{F}```\nwhich prints\n```output\n2\n```",
    "before a block without a word": f"```python\n{F}```\nwhich prints\n```\n2\n```",
    "before a shell block": f"```\n{F}```\n```bash\npython a.py\n```",
    "behind a shell block": f"```bash\npip install f\n```\n~~~python\n{F}~~~",
    "before an empty block": f"```python\n{F}```\n```python\n```",
    "a stray fence behind": f"```python\n{F}```\nDone.\n```",
    "in Markdown": f"````markdown\nSo:\n```python\n{F}```\n````",
    "in Markdown of another mark": f"~~~md\n```python\n{F}```\n~~~",
}


@pytest.mark.parametrize("name", COMPLETIONS)
def test_the_code_is_found(name: str):
    assert read_code(COMPLETIONS[name]).strip() == F.strip()


@pytest.mark.parametrize("completion", [f"```python\n{DOCUMENTED}```", f"~~~\n{DOCUMENTED}~~~", f"```py\n{DOCUMENTED}```\nIt gives\n```\n2\n```"])
def test_a_fence_in_a_docstring_is_part_of_it(completion: str):
    assert read_code(completion) == DOCUMENTED


def test_strings_and_comments_do_not_open_docstrings():
    code = "x = '\"\"\"'  # it's \"\"\" here\ny = 'it\\'s'\n"
    assert read_code(f"```python\n{code}```\nSo ```x``` is it.") == code
    unclosed = 'def f(x):\n    """Adds.\n    return x + 1\n'
    assert read_code(f"```python\n{unclosed}```\nDone.") == unclosed


def test_code_on_the_fences_line():
    assert read_code("So ```f``` it is:\n```python f = lambda x: x + 1```") == "f = lambda x: x + 1"
    assert read_blocks("Use ```f``` here.") == []


def test_a_very_long_answer_is_read_to_its_end():
    """Each of these took minutes where the time to read grows with the square of the length."""
    for text in ("```\n" * 50_000, "`" * 200_000, "```python\n'''" + "\n```x" * 50_000, " " * 200_000, "> " * 100_000, "````md\n" * 30_000, '"""' * 70_000):
        assert len(read_code(text)) <= LONGEST_READ
    assert len(read_code("x" * (LONGEST_READ + 10))) == LONGEST_READ
