"""Reading and writing files that may be half-written, hostile or on a full disk: the ways that a run directory and everything beside it go through."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from operant.core.errors import BadInput
from operant.core.schema import Check, require

if TYPE_CHECKING:
    from safetensors import SafetensorError


def given_path(path: str | os.PathLike, what: str) -> Path:
    """A path that a person gave, `what` naming it in errors. Raises `BadInput` for an empty one, which would else mean the current directory."""
    try:
        text = os.fspath(path)
        if not isinstance(text, str):
            raise TypeError
    except TypeError:
        raise BadInput(f"{what} {path!r}: a path is text or a pathlib.Path") from None
    if not text or "\0" in text:
        raise BadInput(f"{what} {text!r}: an empty path names nothing; give a name" if not text else f"{what} {text!r}: a path has no NUL in it")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise BadInput(f"{what} {text!r}: it holds half a character (a lone surrogate), which no file's name has") from None
    return Path(path)


def check_source(path: Path) -> None:
    """Raise `BadInput` where what is to be read is a device or a pipe, which may have no end, or nobody who writes to it."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return  # who opens it says what is wrong
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise BadInput(f"{path} is a device or a pipe: name a file")


def check_target(path: Path) -> None:
    """Look, before the work for it is done, whether a file of that name could be written. Nothing stays; what stands there may only be a file or a link.

    Raises:
        BadInput: a directory, a device or a pipe stands there, or the name or its folder cannot be.
    """
    try:
        if path.is_dir():
            raise BadInput(f"{path} is a directory: name the file, as in {path / 'report.html'}")
        if os.path.lexists(path) and not _replaceable(path):
            raise BadInput(f"{path} is a device or a pipe: name a file")
        folder = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
        if not folder.is_dir():
            raise BadInput(f"cannot write {path}: {folder} is no directory")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise BadInput(f"cannot write {path}: nothing may be written to {folder}")
        try:
            tempfile.TemporaryFile(dir=folder).close()  # in /proc, and on servers that take one user for another, the answer above is none
        except OSError as error:
            raise BadInput(f"cannot write {path}: {folder} takes no file ({disk_fault(error) or error.strerror})") from error
    except OSError as error:
        raise BadInput(f"cannot write {path}: {disk_fault(error) or error.strerror}") from error


def _replaceable(path: Path) -> bool:
    """Whether what stands there is a file or a link: a device would be gone for everybody."""
    mode = path.lstat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def make_folder(path: Path) -> list[Path]:
    """Make a folder, and those above it that are missing: the ones that were made, the outermost first."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def remove_empty(folders: list[Path]) -> None:
    """Remove folders that `make_folder` made, the innermost first, up to the first in which something is."""
    for folder in reversed(folders):
        try:
            folder.rmdir()
        except OSError:
            return


def disk_fault(error: OSError | SafetensorError) -> str | None:
    """What is wrong with the disk that a file could not be written to, in words; None where the error is of another kind."""
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):  # safetensors hands over the text alone
        return "no space is left on the disk"
    of_the_place = (errno.EISDIR, errno.ENOTDIR, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EACCES, errno.EPERM, errno.ELOOP, errno.EMLINK)
    if getattr(error, "errno", None) in of_the_place:
        return f"{error.strerror}{f' ({error.filename})' if error.filename else ''}"
    return None


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when it is whole: a reader sees the old one or the new one. Nothing is left where that fails; a link is
    replaced, not followed."""
    if os.path.lexists(path) and not _replaceable(path):
        raise OSError(errno.EINVAL, "a folder, a device or a pipe stands there", str(path))
    temporary = path.with_name(f".{path.name[:40]}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomic(path: Path, text: str) -> None:
    """Write a small text file, `replacing` what was there."""
    with replacing(path) as file:
        file.write(text.encode(errors="backslashreplace"))


def write_file(path: Path, text: str) -> None:
    """`write_atomic` to a path that a person gave, its directory being made where it is missing. Raises `BadInput` where that cannot be."""
    check_target(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {disk_fault(error) or error.strerror}") from error


def open_in_place(path: Path, flags: int) -> BinaryIO:
    """A file that is changed where it stands, made where it is missing: never through a link, nor one that has a second name elsewhere.

    Args:
        flags: of `os.open`, as O_APPEND; it is opened for reading and writing.

    Raises:
        OSError: ELOOP where it is a symbolic link, EMLINK where it is a hard link, and whatever else keeps it from being opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags, 0o666)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise OSError(errno.EMLINK, "it has a second name (a hard link), or is no plain file", str(path))
    return os.fdopen(descriptor, "r+b")


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk by now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder; a link's target stays. Nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def check_inside(root: Path) -> None:
    """Refuse a run directory whose files are not its own: links that leave it, devices, pipes.

    What W&B keeps for itself, beneath `wandb/`, is left alone: nothing here reads it.

    Raises:
        BadInput: the first such file, or a folder that cannot be read.
    """

    def unreadable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # a running run drops old checkpoints
            raise BadInput(f"cannot read {error.filename}: {error.strerror}") from error

    try:
        top = root.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise BadInput(f"cannot read {root}: {getattr(error, 'strerror', None) or error}") from error
    for folder, folders, files in os.walk(root, onerror=unreadable):
        for name in (*folders, *files):
            path = Path(folder, name)
            try:
                mode = path.lstat().st_mode
                target = path.resolve() if stat.S_ISLNK(mode) else None
            except FileNotFoundError:
                continue
            except (OSError, RuntimeError) as error:
                raise BadInput(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
            if target is not None and not target.is_relative_to(top):
                raise BadInput(f"{path} is a link that leaves the run, to {target}: a run holds its own files; copy it there, or leave it out")
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                raise BadInput(f"{path} is a device or a pipe: a run holds plain files")
        if Path(folder) == root and "wandb" in folders:
            folders.remove("wandb")


def check_size(path: Path, size: int) -> None:
    """Refuse a file that this machine could not hold in memory twice; a sparse one declares any size. Raises `BadInput`."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory // 2:
        raise BadInput(f"{path} has {size / 1e9:,.0f} GB, more than half of this machine's memory of {memory / 1e9:,.0f} GB: it is damaged, or for another")


def read_bytes(path: Path) -> bytes:
    """A plain file's content. Raises `BadInput` where it cannot be read or held; FileNotFoundError where there is none."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise BadInput(f"{path} is no plain file")
            check_size(path, found.st_size)
            return file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(str(path)) from error
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error


def parse_json(text: bytes, where: str) -> Any:
    """JSON whose objects name each key once. Raises `BadInput` that begins with `where`."""
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise BadInput(f"{where} is half-written or damaged: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, a number of thousands of digits, a key twice, thousands of brackets
        raise BadInput(f"{where} is damaged: {error}") from error


def read_rows(path: Path, check: Check, damaged: list[int] | None = None) -> list[dict[str, Any]]:
    """The rows of a .jsonl file, none where there is no such file; a last line without its end, which somebody is still writing, is left out.

    Args:
        check: what each row must be.
        damaged: takes the numbers of the lines that are no rows, which are left out then, the last line's too.

    Raises:
        BadInput: without `damaged`, the first line that is no row.
    """
    try:
        lines = read_bytes(path).split(b"\n")
    except FileNotFoundError:
        return []
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            rows.append(require(parse_json(line, where), check, where))
        except BadInput:
            if damaged is not None:
                damaged.append(number)
            elif number < len(lines):
                raise
    return rows


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes; empty where it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def read_json(path: Path) -> Any:
    """The JSON of a file. Raises `BadInput`; FileNotFoundError where there is none."""
    return parse_json(read_bytes(path), str(path))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands twice in one object")
    return found


def write_marked(path: Path, mark: str, text: str) -> None:
    """Put a text into a Markdown file, between the comments that name `mark` and say "from here" and "to here".

    Raises:
        BadInput: there is no such file, or it has no such comments.
    """
    try:
        page = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"--write {path}: {error.strerror}") from error
    begin, end = f"<!-- {mark}: from here", f"<!-- {mark}: to here -->"
    marks = re.compile(rf"({re.escape(begin)}[^\n]*-->\n).*?({re.escape(end)})", re.DOTALL)
    if not marks.search(page):
        raise BadInput(f"--write {path}: it has no lines '{begin} -->' and '{end}', between which the table goes")
    write_atomic(path, marks.sub(lambda found: f"{found[1]}\n{text}\n{found[2]}", page))
