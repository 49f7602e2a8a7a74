"""``python -m miassr_monai.cli``."""

import sys

from miassr_monai.cli.command_line import main

sys.exit(main())
