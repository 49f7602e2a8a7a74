import signal
import subprocess
import sys

import pytest

import miassr_monai
from miassr_monai.cli import main


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "required: COMMAND"),
        (["upscale", "a", "b"], "one of the arguments --scale --spacing is required"),
        (["upscale", "a", "b", "--scale", "2", "--spacing", "1"], "not allowed with argument"),
        (["upscale", "a", "b", "--scale", "two"], "'two' is not a number, or one for each axis such as 1x1x4"),
        (["upscale", "", "b", "--scale", "2"], "argument IN: the path is empty"),
        (["upscale", "a", "", "--scale", "2"], "argument OUT: the path is empty"),
        (["upscale", "a", "b", "--scale", "2xtwo"], "'2xtwo' is not a number, or one for each axis"),
        (["upscale", "a", "b", "--scale", "2", "--overwrite", "--skip-existing"], "not allowed with argument"),
        (["upscale", "a", "b", "--scale", "2", "--dtype", "int64"], "invalid choice: 'int64'"),
        (["upscale", "a", "b", "--scale", "2", "--slice-axis", "3"], "invalid choice"),
    ],
)
def test_a_line_that_cannot_be_parsed_is_explained(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_what_ends_a_process_is_an_interruption_unless_it_is_ignored(name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    try:
        for handler in (signal.SIG_DFL, signal.SIG_IGN):
            signal.signal(number, handler)
            assert main(["info", "--model", "bicubic"]) == 0
            if handler is signal.SIG_IGN:
                assert signal.getsignal(number) == signal.SIG_IGN
            else:
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(number)
    finally:
        signal.signal(number, before)


def test_workers_that_a_pool_ends_say_nothing():
    code = (
        "import multiprocessing, time\nfrom miassr_monai.cli import main\nmain(['info', '--model', 'bicubic'])\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n    pool.map(abs, [1, 2])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom miassr_monai.cli import main\n"
        "for line in (['--help'], ['upscale', '--help'], ['evaluate', '--help'], ['info', '--model', 'linear'],\n"
        "             ['datalist', '--help'], ['completion', 'bash']):\n"
        "    try:\n        main(line)\n    except SystemExit as done:\n        assert done.code == 0\n"
        "print([m for m in ('torch', 'monai', 'numpy', 'nibabel', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("\n[]\n"), done.stderr


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"miassr {miassr_monai.__version__}\n"


@pytest.mark.parametrize("debug", ["", "1"])
def test_an_error_that_nobody_foresaw_is_told_in_a_line_unless_its_place_is_asked_for(monkeypatch, capsys, debug):
    def fail(*_):
        try:
            {}[77]
        except KeyError as error:
            raise RuntimeError("somewhere in a configuration") from error

    monkeypatch.setattr("miassr_monai.cli.info.find_model", fail)
    monkeypatch.setenv("MIASSR_DEBUG", debug)
    assert main(["info"]) == 1
    *before, last = capsys.readouterr().err.splitlines()
    start = "miassr: error: miassr info failed in an unforeseen way, please report it: KeyError (77), line "
    assert last.startswith(start) and last.endswith(" of test_command_line.py.")
    assert ("RuntimeError: somewhere in a configuration" in before) == bool(debug) == bool(before)
