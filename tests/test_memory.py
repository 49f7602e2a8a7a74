import subprocess
import sys

import pytest

from miassr_monai import memory
from miassr_monai.memory import PeakMemory, available_memory, gibibytes


@pytest.fixture
def files(tmp_path, monkeypatch):
    """What the system tells: the machine's free memory, and nothing of groups."""
    monkeypatch.setattr(memory, "MACHINE", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "GROUPS", ((tmp_path / "max", tmp_path / "current"),))
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemFree: 100 kB\nMemAvailable:    3000 kB\n")
    return tmp_path


def test_it_is_what_the_machine_has_left(files):
    assert available_memory() == 3000 * 1024


@pytest.mark.parametrize("limit, free", [("max\n", 3000 * 1024), ("2000000\n", 1999300), ("99999999\n", 3000 * 1024)])
def test_it_is_what_a_group_has_left_if_that_is_less(files, limit, free):
    (files / "max").write_text(limit)
    (files / "current").write_text("700\n")
    assert available_memory() == free


def test_a_group_that_has_taken_more_than_its_limit_has_nothing_left(files):
    (files / "max").write_text("100")
    (files / "current").write_text("700")
    assert available_memory() == 0


def test_a_system_that_tells_nothing_has_no_known_memory(files):
    (files / "meminfo").write_text("nothing")
    assert available_memory() is None


def test_it_is_within_the_limit_on_the_address_space():
    code = "import resource, sys\nfrom miassr_monai.memory import available_memory\n"
    code += "resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28)); print(available_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 0 < int(done.stdout) < 1 << 28


def test_sizes_are_shown_in_gibibytes():
    assert gibibytes(3 * 2**30 / 2) == "1.5 GiB"


def test_the_peak_is_what_was_held_at_most_beyond_what_was_there_before():
    with PeakMemory() as peak:
        held = bytearray(b"x") * (64 << 20)
        del held
    # The kernel counts in batches of pages.
    assert 60 << 20 < peak.size < 72 << 20
    with PeakMemory() as peak:
        pass
    assert peak.size < 8 << 20


def test_a_system_that_tells_nothing_has_no_known_peak(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "PROCESS", tmp_path / "none")
    with PeakMemory() as peak:
        pass
    assert peak.size is None
