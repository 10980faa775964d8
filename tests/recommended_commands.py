"""Parse the commands that messages recommend, with the parsers of those commands."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import shlex

import pytest


class _ParsedError(Exception):
    """Ends a command after its arguments were parsed."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__()
        self.arguments = arguments


def commands(text: str) -> list[str]:
    """Return the commands that a message recommends, each on a line of its own."""
    return re.findall(r"^python -m .*$", text, re.MULTILINE)


def parse_command(command: str) -> argparse.Namespace:
    """Return the arguments of a command line. Fails if the command does not accept them."""
    python, option, name, *words = shlex.split(command)
    assert (python, option) == ("python", "-m")
    is_package = importlib.util.find_spec(f"{name}.__main__") if _is_package(name) else None
    module = importlib.import_module(f"{name}.__main__" if is_package else name)
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, *arguments: object) -> argparse.Namespace:
        raise _ParsedError(parse(parser, *arguments))  # type: ignore[call-overload]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        try:
            module.main(words)
        except _ParsedError as parsed:
            return parsed.arguments
        except SystemExit as error:
            pytest.fail(f"{command}: exit code {error.code}")
    raise AssertionError(f"{command} parses no arguments")


def _is_package(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"there is no module {name}"
    return spec.submodule_search_locations is not None
