"""Freed memory is kept for the next tensor, where the allocator can be told so."""

import os
import platform
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

CODE = "from itma.allocation import reuse_memory; print(reuse_memory())"


def ask(**more: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env={**environment, **more}, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_glibc_keeps_freed_memory() -> None:
    assert ask() == "True"


def test_whoever_sets_the_allocator_s_variables_is_left_alone() -> None:
    assert ask(MALLOC_ARENA_MAX="2") == "False"


def test_the_measurement_s_program_can_be_read() -> None:
    benchmark = Path(__file__).resolve().parents[1] / "bench" / "allocation.py"
    compile(runpy.run_path(str(benchmark))["CODE"], str(benchmark), "exec")
