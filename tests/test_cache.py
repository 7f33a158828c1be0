"""Cached images: the same pixels as without a cache, whatever happened to the files, the cache or the processes."""

import errno
import io
import logging
import os
import pickle
import re
import shutil
import sys
import tempfile
import textwrap
from collections import namedtuple
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from itma.cli import cli
from itma.data import image_cache
from itma.data.image_cache import CachedImages, caches, default_folder, open_cache, remove
from itma.data.images import FileImages, MemoryImages, Preprocess
from itma.errors import DataError, ImageError, StorageError, UnknownNameError
from tests.forked import Program

SMALL = Preprocess(height=9, width=13)
Put = Callable[[io.RawIOBase, int, bytes], None]
Usage = namedtuple("Usage", "total used free")


@dataclass(frozen=True)
class Watched(FileImages):
    """Image files that remember what was decoded."""

    decoded: list[int] = field(default_factory=list)

    def load(self, indices: Any, preprocess: Preprocess) -> torch.Tensor:
        self.decoded.extend(int(index) for index in indices)
        return super().load(indices, preprocess)


def draw(path: Path, seed: int, kind: str = "BMP", **options: Any) -> Path:
    """An image of 20×16 random pixels; a BMP of another seed has the same size in bytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, kind, **options)
    return path


def draw_images(folder: Path, count: int = 5) -> Watched:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [draw(folder / f"{index}.bmp", index) for index in range(count)]
    return Watched([path.stem for path in paths], paths)


def redraw(path: Path, seed: int) -> None:
    """Another image in a file of the same size and time."""
    before = path.stat()
    draw(path, seed)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


@pytest.fixture
def files(tmp_path: Path) -> Watched:
    return draw_images(tmp_path / "images")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "caches"


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was logged as a warning since it was asked last."""

    def since() -> list[str]:
        messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        caplog.clear()
        return messages

    return since


def everything(files: FileImages) -> torch.Tensor:
    return FileImages(files.names, files.paths).load(range(len(files.names)), SMALL)


def filled(files: FileImages, folder: Path) -> CachedImages:
    images = CachedImages(files, SMALL, folder)
    images.fill()
    if isinstance(files, Watched):
        files.decoded.clear()
    return images


def right(files: FileImages, folder: Path) -> bool:
    """Whether a cache that is opened now gives what the files hold."""
    count = len(files.names)
    return torch.equal(CachedImages(files, SMALL, folder).load(range(count), SMALL), everything(files))


# Reading


def test_pixels_are_those_of_the_files_on_the_first_pass_and_the_second(files: Watched, folder: Path) -> None:
    images = CachedImages(files, SMALL, folder)
    assert torch.equal(images.load(range(5), SMALL), everything(files))
    assert torch.equal(images.load(range(5), SMALL), everything(files))


def test_an_image_is_decoded_once(files: Watched, folder: Path) -> None:
    images = CachedImages(files, SMALL, folder)
    for indices in ([2, 0], [2, 2, 1], [0, 1, 2]):
        images.load(indices, SMALL)
    CachedImages(files, SMALL, folder).load([2, 1, 0], SMALL)
    assert files.decoded == [0, 2, 1]


def test_an_image_that_is_asked_for_twice_at_once_is_decoded_once(files: Watched, folder: Path) -> None:
    CachedImages(files, SMALL, folder).load([3, 3, -2], SMALL)
    assert files.decoded == [3]


def test_names_and_missing_files_are_those_of_the_files(files: Watched, folder: Path) -> None:
    files.paths[1].unlink()
    images = CachedImages(files, SMALL, folder)
    assert images.names == files.names
    assert images.missing().tolist() == [False, True, False, False, False]


def test_what_is_loaded_may_be_written_to(files: Watched, folder: Path) -> None:
    images = filled(files, folder)
    images.load(range(5), SMALL).zero_()
    assert torch.equal(images.load(range(5), SMALL), everything(files))


def test_no_index_gives_no_images(files: Watched, folder: Path) -> None:
    loaded = CachedImages(files, SMALL, folder).load([], SMALL)
    assert loaded.shape == (0, 3, 9, 13)
    assert loaded.dtype == torch.uint8


def test_an_index_beyond_the_images_is_refused(files: Watched, folder: Path) -> None:
    with pytest.raises(IndexError):
        CachedImages(files, SMALL, folder).load([0, 5], SMALL)


def test_a_collection_without_images_can_be_opened(folder: Path) -> None:
    images = CachedImages(FileImages([], []), SMALL, folder)
    images.fill()
    assert images.load([], SMALL).shape == (0, 3, 9, 13)


def test_another_preprocess_is_read_from_the_files(files: Watched, folder: Path) -> None:
    images, larger = filled(files, folder), Preprocess(height=11, width=7, fit="crop")
    assert torch.equal(images.load([4, 0], larger), files.load([4, 0], larger))
    assert files.decoded == [4, 0, 4, 0]


def test_a_preprocess_that_differs_only_after_the_pixels_is_served(files: Watched, folder: Path) -> None:
    filled(files, folder).load([0], Preprocess(height=9, width=13, std=(0.5, 0.5, 0.5)))
    assert files.decoded == []


def test_another_ground_is_another_preprocess(files: Watched, folder: Path) -> None:
    white = Preprocess(height=9, width=13, mean=(1.0, 1.0, 1.0))
    assert torch.equal(filled(files, folder).load([0], white)[0], white.read(files.paths[0]))


def test_images_in_memory_need_no_cache(folder: Path) -> None:
    images = MemoryImages(["a"], torch.zeros(1, 3, 9, 13, dtype=torch.uint8))
    assert open_cache(images, SMALL, folder=folder) is images
    assert not folder.exists()


def test_another_process_opens_the_cache_and_copies_nothing(files: Watched, folder: Path) -> None:
    sent = pickle.dumps(filled(files, folder))
    received = pickle.loads(sent)
    assert torch.equal(received.load(range(5), SMALL), everything(files))
    assert received.path.parent == folder
    assert received._files.decoded == []


def test_many_threads_get_the_right_images(tmp_path: Path, folder: Path) -> None:
    files = draw_images(tmp_path / "images", 40)
    images, expected = CachedImages(files, SMALL, folder), everything(files)

    def load(seed: int) -> bool:
        order = np.random.default_rng(seed).permutation(40)
        return all(torch.equal(images.load(part, SMALL), expected[part]) for part in np.array_split(order, 6))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(load, range(16)))


# One folder of images for the properties, of which each draws many cases


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Watched, bytes, torch.Tensor]]:
    """Image files, a cache that is full, and what both hold."""
    with tempfile.TemporaryDirectory() as folder:
        files = draw_images(Path(folder) / "images", 6)
        yield files, filled(files, Path(folder) / "full").path.read_bytes(), everything(files)


@settings(max_examples=40)
@given(orders=st.lists(st.lists(st.integers(-6, 5), max_size=9), max_size=4))
def test_any_order_of_indices_gives_the_files_pixels(
    shared: tuple[Watched, bytes, torch.Tensor], orders: list[list[int]]
) -> None:
    files, _, expected = shared
    with tempfile.TemporaryDirectory() as folder:
        images = CachedImages(files, SMALL, folder)
        for order in orders:
            assert torch.equal(images.load(order, SMALL), expected[torch.tensor(order, dtype=torch.long)])


@settings(max_examples=60)
@given(length=st.floats(0, 1), position=st.floats(0, 1), scrap=st.binary(max_size=400))
def test_a_cache_with_any_damage_gives_the_files_pixels(
    shared: tuple[Watched, bytes, torch.Tensor], length: float, position: float, scrap: bytes
) -> None:
    files, content, expected = shared
    content = content[: round(length * len(content))]
    begin = round(position * len(content))
    with tempfile.TemporaryDirectory() as folder:
        path = CachedImages(files, SMALL, folder).path
        path.write_bytes(content[:begin] + scrap + content[begin + len(scrap) :])
        for _ in range(2):
            assert torch.equal(CachedImages(files, SMALL, folder).load(range(6), SMALL), expected)


# Files that change


def test_a_cached_image_is_known_by_the_size_and_time_of_its_file(files: Watched, folder: Path) -> None:
    before = filled(files, folder).load(range(5), SMALL)
    redraw(files.paths[2], 77)
    assert torch.equal(CachedImages(files, SMALL, folder).load(range(5), SMALL), before)


def test_a_file_of_another_time_is_decoded_anew(files: Watched, folder: Path) -> None:
    filled(files, folder)
    redraw(files.paths[2], 77)
    changed = files.paths[2].stat().st_mtime_ns + 1_000_000
    os.utime(files.paths[2], ns=(changed, changed))
    assert right(files, folder)
    assert files.decoded == [2]


def test_a_file_of_another_size_is_decoded_anew(files: Watched, folder: Path) -> None:
    filled(files, folder)
    before = files.paths[2].stat()
    draw(files.paths[2], 77, "PNG")
    os.utime(files.paths[2], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert right(files, folder)
    assert files.decoded == [2]


def test_a_file_that_went_back_to_what_it_was_is_decoded_anew(files: Watched, folder: Path) -> None:
    filled(files, folder)
    old, times = files.paths[2].read_bytes(), files.paths[2].stat()
    draw(files.paths[2], 77, "PNG")
    assert right(files, folder)
    files.paths[2].write_bytes(old)
    os.utime(files.paths[2], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert right(files, folder)


def test_a_file_that_changes_while_the_cache_is_open_is_never_mixed_with_the_old_one(
    files: Watched, folder: Path
) -> None:
    opened_before = filled(files, folder)
    old = everything(files)
    draw(files.paths[2], 77, "PNG")
    assert torch.equal(opened_before.load(range(5), SMALL), old)
    assert right(files, folder)  # and writes the new image over the old one
    assert torch.equal(opened_before.load(range(5), SMALL), everything(files))


def test_a_file_that_changes_before_its_first_use_is_decoded_once(files: Watched, folder: Path) -> None:
    images = CachedImages(files, SMALL, folder)
    draw(files.paths[2], 77, "PNG")
    for _ in range(2):
        assert torch.equal(images.load([2], SMALL), everything(files)[2:3])
    assert files.decoded == [2]


def test_a_file_that_changes_while_it_is_read_is_not_cached(tmp_path: Path, folder: Path) -> None:
    class Changing(Watched):
        def load(self, indices: Any, preprocess: Preprocess) -> torch.Tensor:
            loaded = super().load(indices, preprocess)
            draw(self.paths[2], 77, "PNG")
            return loaded

    plain = draw_images(tmp_path / "images")
    CachedImages(Changing(plain.names, plain.paths), SMALL, folder).load(range(5), SMALL)
    assert [one.cached for one in caches(folder)] == [4]
    assert right(plain, folder)


@pytest.mark.parametrize("gone", ["before it is opened", "afterwards, not cached"])
def test_an_image_whose_file_is_gone_is_an_error_that_names_it(files: Watched, folder: Path, gone: str) -> None:
    if gone == "before it is opened":
        filled(files, folder)
    images = CachedImages(files, SMALL, folder) if gone == "afterwards, not cached" else None
    files.paths[3].unlink()
    images = images or CachedImages(files, SMALL, folder)
    with pytest.raises(ImageError, match=r"3\.bmp.*does not exist"):
        images.load([0, 3], SMALL)
    assert torch.equal(images.load([0, 4], SMALL), files.load([0, 4], SMALL))


def test_an_image_that_cannot_be_read_is_an_error_each_time_and_never_cached(files: Watched, folder: Path) -> None:
    good = files.paths[3].read_bytes()
    files.paths[3].write_bytes(good[:40])
    images = CachedImages(files, SMALL, folder)
    for _ in range(2):
        with pytest.raises(ImageError, match=r"3\.bmp"):
            images.load([3], SMALL)
    assert [one.cached for one in caches(folder)] == [0]
    files.paths[3].write_bytes(good)
    assert torch.equal(images.load([3], SMALL), everything(files)[3:4])


def test_another_version_of_the_decoder_decodes_anew(
    files: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch, warned: Callable[[], list[str]]
) -> None:
    filled(files, folder)
    recipe = image_cache._recipe()
    monkeypatch.setattr(image_cache, "_recipe", lambda: recipe ^ 1)
    CachedImages(files, SMALL, folder).load(range(5), SMALL)
    assert files.decoded == [0, 1, 2, 3, 4]
    assert len(caches(folder)) == 1
    assert not warned()


# Filling


def test_filling_decodes_what_is_not_cached_and_passes_over_missing_files(
    files: Watched, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files.paths[1].unlink()
    images = CachedImages(files, SMALL, folder)
    images.load([4], SMALL)
    images.fill()
    assert sorted(files.decoded) == [0, 2, 3, 4]
    assert capsys.readouterr().err == ""


def test_filling_in_several_parts_reaches_every_image(
    files: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(image_cache, "_FILL_IMAGES", 2)
    CachedImages(files, SMALL, folder).fill(progress=True)
    assert sorted(files.decoded) == [0, 1, 2, 3, 4]
    assert "5/5" in capsys.readouterr().err


def test_filling_names_an_image_that_cannot_be_read(files: Watched, folder: Path) -> None:
    files.paths[3].write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"3\.bmp"):
        CachedImages(files, SMALL, folder).fill()


# Processes

PROCESS = """
    import sys
    import warnings
    from pathlib import Path
    import numpy as np
    import torch
    from itma.data.image_cache import CachedImages
    from itma.data.images import FileImages, Preprocess

    warnings.simplefilter("error")
    torch.set_num_threads(1)
    images, folder, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    paths = sorted(images.iterdir())
    files, small = FileImages([path.stem for path in paths], paths), Preprocess(height=9, width=13)
    wanted, random = files.load(range(len(paths)), small), np.random.default_rng(seed)
    print("ready", flush=True)
    sys.stdin.readline()
    for turn in range(int(sys.argv[4])):
        opened = CachedImages(files, small, folder / str(turn))
        if turn % 2:
            opened.fill()
        for part in np.array_split(random.permutation(len(paths)), 10):
            assert torch.equal(opened.load(part, small), wanted[part]), (turn, part)
"""


def test_processes_fill_one_cache_at_once_and_one_may_be_killed(
    tmp_path: Path, folder: Path, request: pytest.FixtureRequest
) -> None:
    turns = 6 if request.config.getoption("--slow") else 2
    files = draw_images(tmp_path / "images", 60)
    processes = [Program(textwrap.dedent(PROCESS), tmp_path / "images", folder, seed, turns) for seed in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    while not any(path.stat().st_size for path in folder.glob("*/*.pixels")):
        assert processes[0].runs
    processes[2].kill()  # amid its first images
    processes[2].wait()
    for process in processes[:2]:
        assert process.wait() == 0
    ordered = sorted(files.paths)
    for turn in range(turns):
        listed = Watched([path.stem for path in ordered], ordered)
        assert right(listed, folder / str(turn))
        assert listed.decoded == []


@pytest.mark.parametrize("share", [0, 0.5], ids=["before", "halfway through"])
@pytest.mark.parametrize("fatal", range(6))
def test_a_process_that_dies_at_any_writing_leaves_no_wrong_image(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, fatal: int, share: float
) -> None:
    """Three images are written in six writings: the pixels of each, then the record of each."""
    files = draw_images(tmp_path / "images", 3)
    filled(files, folder)
    for index, path in enumerate(files.paths):
        draw(path, 50 + index, "PNG")
    images, put, writings = CachedImages(files, SMALL, folder), image_cache._put, iter(range(6))

    def dying(file: io.RawIOBase, at: int, data: bytes) -> None:
        last = next(writings) == fatal
        put(file, at, data[: int(share * len(data))] if last else data)
        if last:
            raise KeyboardInterrupt

    monkeypatch.setattr(image_cache, "_put", dying)
    with pytest.raises(KeyboardInterrupt):
        images.load(range(3), SMALL)
    monkeypatch.setattr(image_cache, "_put", put)
    assert right(files, folder)
    assert right(files, folder)


def test_pixels_that_never_reached_the_disk_are_decoded_anew(files: Watched, folder: Path) -> None:
    images = filled(files, folder)
    with images.path.open("r+b") as file:  # as after a loss of power: records are there, pixels are not
        file.seek(images._layout.pixels_at(2))
        file.write(bytes(3 * 9 * 13))
    assert right(files, folder)
    assert files.decoded == [2]


# A cache that is damaged, removed, or has no room


@pytest.mark.parametrize("length", [10, 4096, -1], ids=["within the header", "after the header", "by one byte"])
def test_a_truncated_cache_is_repaired_with_one_warning(
    files: Watched, folder: Path, warned: Callable[[], list[str]], length: int
) -> None:
    path = filled(files, folder).path
    path.write_bytes(path.read_bytes()[:length])
    assert right(files, folder)
    assert ["damaged" in one for one in warned()] == [True]
    files.decoded.clear()
    assert right(files, folder)
    assert files.decoded == []
    assert not warned()


def test_a_damaged_header_is_repaired_with_one_warning(
    files: Watched, folder: Path, warned: Callable[[], list[str]]
) -> None:
    path = filled(files, folder).path
    with path.open("r+b") as file:
        file.write(b"scribble")
    assert [one.about for one in caches(folder)] == ["damaged"]
    assert right(files, folder)
    assert len(warned()) == 1
    assert right(files, folder)
    assert not warned()


def test_a_cache_that_was_never_laid_out_to_the_end_is_no_damage(
    files: Watched, folder: Path, warned: Callable[[], list[str]]
) -> None:
    path = filled(files, folder).path
    for left in (b"", bytes(100), bytes(5000)):
        path.write_bytes(left)
        assert right(files, folder)
        assert not warned()


def test_a_full_disk_is_one_warning_and_images_are_decoded(
    files: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch, warned: Callable[[], list[str]]
) -> None:
    images = CachedImages(files, SMALL, folder)
    images.load([0], SMALL)

    def full(file: io.RawIOBase, at: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(image_cache, "_put", full)
    for _ in range(2):
        assert torch.equal(images.load(range(5), SMALL), everything(files))
    assert files.decoded == [0, 1, 2, 3, 4, 1, 2, 3, 4]
    images.fill()
    warnings = warned()
    assert len(warnings) == 1
    assert "No space left on device" in warnings[0]
    assert "decoded each time" in warnings[0]


def test_a_part_that_is_written_is_followed_by_the_rest() -> None:
    class Slow(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data[:3]))

    file = Slow(bytes(12))
    image_cache._put(file, 2, b"images")  # type: ignore[arg-type]
    assert file.getvalue() == b"\0\0images\0\0\0\0"


def test_a_cache_that_is_removed_while_in_use_is_one_warning(
    files: Watched, folder: Path, warned: Callable[[], list[str]]
) -> None:
    images = CachedImages(files, SMALL, folder)
    images.load([0, 1], SMALL)
    remove(folder)
    for _ in range(2):
        assert torch.equal(images.load(range(5), SMALL), everything(files))
    assert len(warned()) == 1
    assert caches(folder) == []


def test_a_cache_that_is_removed_and_made_again_serves_both(files: Watched, folder: Path) -> None:
    images = filled(files, folder)
    remove(folder)
    again = CachedImages(files, SMALL, folder)
    draw(files.paths[0], 77, "PNG")
    for _ in range(2):
        assert torch.equal(again.load([1, 2], SMALL), everything(files)[1:3])
        assert torch.equal(images.load([3, 4], SMALL), everything(files)[3:])
    assert right(files, folder)


@pytest.mark.parametrize("free", [10**12, 4000], ids=["larger than allowed", "more than its share of the disk"])
def test_where_it_does_not_fit_there_is_no_cache(
    files: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, free: int
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12 - free, free))
    with caplog.at_level(logging.INFO, "itma.data.image_cache"):
        assert open_cache(files, SMALL, folder=folder, limit_bytes=1000 if free > 10**6 else 10**9) is files
    assert not folder.exists()
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "5 images are not cached: they would take" in caplog.text


def test_a_cache_that_is_there_still_fits_when_it_has_filled_half_the_disk(
    files: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(files, folder)
    size = caches(folder)[0].bytes_on_disk
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2 * size, size, size))
    assert isinstance(open_cache(files, SMALL, folder=folder), CachedImages)


def test_a_folder_that_cannot_be_made_is_a_warning_and_no_cache(
    files: Watched, folder: Path, warned: Callable[[], list[str]]
) -> None:
    folder.write_text("a file")
    assert open_cache(files, SMALL, folder=folder / "inner") is files
    warnings = warned()
    assert len(warnings) == 1
    assert "ITMA_CACHE" in warnings[0]


# Where caches are, and which


def test_different_uses_have_different_caches(tmp_path: Path, files: Watched, folder: Path) -> None:
    others = draw_images(tmp_path / "others")
    turned = FileImages(files.names[::-1], files.paths[::-1])
    paths = {
        CachedImages(some, preprocess, folder).path
        for some in (files, others, turned, FileImages(files.names[:4], files.paths[:4]))
        for preprocess in (SMALL, Preprocess(height=13, width=9), Preprocess(height=9, width=13, fit="crop"))
    }
    assert len(paths) == 12


def test_relative_paths_find_the_cache_of_the_absolute_ones(
    files: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absolute = filled(files, folder).path
    monkeypatch.chdir(folder.parent)
    relative = FileImages(files.names, [path.relative_to(folder.parent) for path in files.paths])
    assert CachedImages(relative, SMALL, folder.relative_to(folder.parent)).path == absolute


def test_the_default_folder_is_the_named_one_or_the_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ITMA_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    assert default_folder() == tmp_path / "mine"
    monkeypatch.setenv("ITMA_CACHE", "")
    assert default_folder() == tmp_path / "shared" / "itma"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for system, usual in (("linux", ".cache"), ("darwin", "Library/Caches"), ("win32", "AppData/Local")):
        monkeypatch.setattr(sys, "platform", system)
        assert default_folder() == tmp_path / usual / "itma"


def test_without_a_home_folder_images_are_not_cached(
    files: Watched, monkeypatch: pytest.MonkeyPatch, warned: Callable[[], list[str]]
) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("ITMA_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(StorageError, match="ITMA_CACHE"):
        default_folder()
    assert open_cache(files, SMALL) is files
    assert len(warned()) == 1


def test_caches_are_found_in_the_default_folder(files: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITMA_CACHE", str(folder))
    images = open_cache(files, SMALL)
    assert isinstance(images, CachedImages)
    assert [one.path for one in caches()] == [images.path]
    assert [one.path for one in remove()] == [images.path]


def test_a_folder_without_caches_has_none(folder: Path) -> None:
    assert caches(folder) == []
    assert remove(folder) == []


def test_caches_are_listed_by_their_last_use(tmp_path: Path, files: Watched, folder: Path) -> None:
    others = draw_images(tmp_path / "others", 3)
    paths = [filled(files, folder).path, CachedImages(others, SMALL, folder).path]
    for seconds, path in enumerate(paths, start=10**9):
        os.utime(path, (seconds, seconds))
    newest, oldest = caches(folder)
    assert (newest.path, newest.images, newest.cached) == (paths[1], 3, 0)
    assert (oldest.path, oldest.images, oldest.cached) == (paths[0], 5, 5)
    assert oldest.bytes_on_disk >= 5 * 3 * 9 * 13
    assert f"{files.paths[0].parent} at 9×13 pixels (pad)" in str(oldest)
    assert "5 of 5 images" in str(oldest)
    CachedImages(files, SMALL, folder)
    assert caches(folder)[0].path == paths[0]


def test_only_the_named_caches_are_removed(tmp_path: Path, files: Watched, folder: Path) -> None:
    remaining, gone = filled(files, folder), filled(draw_images(tmp_path / "others"), folder)
    with pytest.raises(UnknownNameError, match="cache 'none'"):
        remove(folder, names=[gone.path.stem, "none"])
    assert [one.name for one in remove(folder, names=[gone.path.stem])] == [gone.path.stem]
    assert [one.path for one in caches(folder)] == [remaining.path]


def test_the_caches_of_a_data_set_are_found_by_its_folder(tmp_path: Path, files: Watched, folder: Path) -> None:
    other = filled(draw_images(tmp_path / "others/images"), folder)
    own = filled(files, folder)
    assert [one.path for one in caches(folder, [tmp_path / "others"])] == [other.path]
    assert [one.path for one in caches(folder, [own.path.stem])] == [own.path]
    with pytest.raises(DataError, match=r"no cache of 'oth' .*a folder that its images are in, as: .*others/images"):
        caches(folder, ["oth"])


def test_only_the_caches_of_a_data_set_are_removed_by_the_command(tmp_path: Path, files: Watched, folder: Path) -> None:
    filled(draw_images(tmp_path / "others"), folder)
    own = filled(files, folder)
    result = CliRunner().invoke(cli, ["cache", str(tmp_path / "others"), "--folder", str(folder), "--remove"])
    assert re.search(r"removed: 1 caches, [\d.]+ MB in ", result.output), result.output
    assert [one.path for one in caches(folder)] == [own.path]


def test_what_is_not_a_cache_is_neither_listed_nor_removed(files: Watched, folder: Path) -> None:
    filled(files, folder)
    for name in ("notes.txt", "mine.pixels", ".hidden", f"{'0' * 32}.pixels.old"):
        (folder / name).write_text("mine")
    assert len(remove(folder)) == 1
    assert len(list(folder.iterdir())) == 4


def test_a_folder_that_cannot_be_listed_is_named(folder: Path) -> None:
    folder.write_text("a file")
    with pytest.raises(StorageError, match="caches' cannot be listed"):
        caches(folder)
