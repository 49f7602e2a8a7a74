"""The command ``miassr``, a file for each of its commands; help is quick, because nothing heavy is imported for it."""

from miassr_monai.cli.command_line import main

__all__ = ["main"]
