"""Pictures as an animation in a file: GIF through Pillow, MP4 through ffmpeg where there is one."""

from __future__ import annotations

import importlib.util
import math
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from operant.core.errors import BadInput, RunFailed, one_line
from operant.core.files import disk_fault, replacing
from operant.worlds.base import Drawn


def check_video(path: Path) -> None:
    """Raise `BadInput` where a file of that name cannot be encoded here."""
    if path.suffix not in (".gif", ".mp4"):
        raise BadInput(f"{path}: name a file that ends in .gif or .mp4")
    if path.suffix == ".mp4" and _ffmpeg() is None:
        raise BadInput("an MP4 needs an encoder, ffmpeg: pip install imageio-ffmpeg, or write a .gif")


def write_video(path: Path, shown: Iterator[Drawn], *, width: int = 480, most_fps: float = 25.0) -> None:
    """Write what is shown, the file being there whole or not at all.

    Args:
        width: in pixels, which larger pictures are brought down to.
        most_fps: pictures a second of a GIF, of which the others are left out: its files are large, and many programs show more than fifty slowly.

    Raises:
        BadInput: as `check_video`, and whatever showing raises. RunFailed: it could not be written.
    """
    check_video(path)
    first = next(shown)  # before anything is written
    every = max(1, math.ceil(first.fps / most_fps)) if path.suffix == ".gif" else 1
    sized = (_sized(step.picture, width) for place, step in enumerate(chain([first], shown)) if place % every == 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            if path.suffix == ".gif":
                next(sized).save(file, format="GIF", save_all=True, append_images=sized, duration=round(1000 * every / first.fps), loop=0)
            else:
                file.write(_encoded(sized, first.fps))
    except OSError as error:
        raise RunFailed(f"{path} could not be written: {disk_fault(error) or error}") from error


def _sized(picture: np.ndarray, width: int) -> Image.Image:
    """A picture at most `width` wide, its sides even numbers, as MP4 wants them."""
    height, wide = picture.shape[:2]
    share = min(1.0, width / wide)
    return Image.fromarray(picture).resize((max(2, round(wide * share / 2) * 2), max(2, round(height * share / 2) * 2)))


def _ffmpeg() -> str | None:
    if (found := shutil.which("ffmpeg")) is not None or importlib.util.find_spec("imageio_ffmpeg") is None:
        return found
    from imageio_ffmpeg import get_ffmpeg_exe

    return get_ffmpeg_exe()


def _encoded(pictures: Iterator[Image.Image], fps: float) -> bytes:
    first = next(pictures)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        path = Path(folder, "video.mp4")
        words = [_ffmpeg(), "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{first.width}x{first.height}", "-r", f"{fps:g}", "-i", "-"]
        words += ["-c:v", "libx264", "-pix_fmt", "yuv420p", str(path)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)
        try:
            for picture in (first, *pictures):
                process.stdin.write(picture.tobytes())
            process.stdin.close()
        except BrokenPipeError:
            pass  # what it said of it is read below
        except BaseException:
            process.kill()
            raise
        finally:
            code = process.wait()
        if code:
            said.seek(0)
            raise RunFailed(f"ffmpeg ended with code {code}: {one_line(said.read().decode(errors='replace'))}")
        return path.read_bytes()
