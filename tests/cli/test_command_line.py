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
        (["upscale", "--scale", "2", "a.nii", "b.nii"], "'a.nii' is not a number (IN and OUT go before the options)"),
        (["upscale", "a", "b", "--scale", "two"], "'two' is not a number"),
        (["upscale", "a", "b", "--scale", "2", "--slice-axis", "3"], "invalid choice"),
    ],
)
def test_a_line_that_cannot_be_parsed_is_explained(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and message in capsys.readouterr().err


def test_help_and_info_import_nothing_heavy(weights):
    code = (
        "import sys\nfrom miassr_monai.cli import main\n"
        "for line in (['--help'], ['upscale', '--help'], ['evaluate', '--help'],\n"
        "             ['info', '--model', sys.argv[1]], ['completion', 'bash']):\n"
        "    try:\n        main(line)\n    except SystemExit as done:\n        assert done.code == 0\n"
        "print([m for m in ('torch', 'monai', 'numpy', 'nibabel', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, weights], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("\n[]\n"), done.stderr


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"miassr {miassr_monai.__version__}\n"
