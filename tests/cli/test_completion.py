import os
import pty
import subprocess
import time

import pytest

from miassr_monai.cli import main


@pytest.fixture
def script(capsys):
    """The script for bash."""
    assert main(["completion", "bash"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_script_names_every_command_and_option(capsys, shell):
    assert main(["completion", shell]) == 0
    words = set(capsys.readouterr().out.replace('"', " ").replace(";", " ").split())
    assert {"upscale", "info", "completion", "--scale", "--spacing", "--overwrite", "--preview"} <= words
    assert {"evaluate", "--model", "--section", "--degradation", "--slice-step", "--inception", "--frd"} <= words


@pytest.mark.parametrize(
    "line, found",
    [
        ("miassr ", "upscale evaluate compare datalist info completion"),
        ("miassr ev", "evaluate"),
        ("miassr upscale --sc", "--scale"),
        ("miassr upscale in.nii.gz out.nii.gz --de", "--degradation --device"),
        ("miassr evaluate --d", "--degradation --device"),
        ("miassr info -", "--help --model -h"),
        ("miassr upscale --model ", "paper small volume bicubic linear none"),
        ("miassr info --model b", "bicubic"),
        ("miassr evaluate --model ", "paper=paper small=small volume=volume"),
        ("miassr upscale --consistency p", "project"),
        ("miassr completion ", "bash zsh"),
        # Names of files are left to bash.
        ("miassr upscale in", ""),
        ("miassr evaluate --model mine=", ""),
        ("miassr upscale --report ", ""),
    ],
)
def test_what_fits_in_its_place_is_offered(script, line, found):
    words = [*line.split(), *([""] if line.endswith(" ") else [])]
    quoted = " ".join(f"'{word}'" for word in words)
    ask = f"COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}; _miassr; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True)
    assert done.stdout == f"{found}\n" and done.stderr == ""


def test_a_name_with_blanks_is_completed_and_quoted(folder, script):
    (folder / "my brain.nii.gz").write_bytes(b"")
    (folder / "script").write_text(script)
    process, terminal = pty.fork()
    if process == 0:
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    # The function prints what it is given, one argument a line, as it would reach the command.
    os.write(terminal, b"source script; miassr() { printf '<%s>' \"$@\" > got; }\nmiassr upscale my\t\nexit\n")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            if not os.read(terminal, 4096):
                break
        except OSError:
            break
    os.waitpid(process, 0)
    os.close(terminal)
    assert (folder / "got").read_text() == "<upscale><my brain.nii.gz>"
