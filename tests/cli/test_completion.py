import subprocess

import pytest

from miassr_monai.cli import main


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_completion_names_every_option(capsys, shell):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    words = set(script.replace('"', " ").replace(";", " ").split())
    assert {"upscale", "info", "completion", "--scale", "--spacing", "--overwrite", "--preview"} <= words
    assert {"evaluate", "--model", "--section", "--degradation", "--slice-step", "--inception", "--frd"} <= words
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
        line = "COMP_WORDS=(miassr upscale --sc) COMP_CWORD=2; _miassr; echo ${COMPREPLY[@]}"
        done = subprocess.run(["bash", "-c", f"{script}\n{line}"], capture_output=True, text=True)
        assert done.stdout == "--scale\n"
