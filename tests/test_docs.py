"""The documentation refers only to files and commands that exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from .imports import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")
MODULE = re.compile(r"python3? -m ((?:pipelines|serving|components|workloads|benchmarks|tests)[\w.]*)")
SOURCE_FILE = re.compile(
    r"(?<![\w/.-])((?:continuous_training|pipelines|components|serving|tests|benchmarks|manifests)/[\w./-]+\.\w+)"
)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub derives them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = []
    for target, anchor in LINK.findall(text):
        linked = (page.parent / target).resolve() if target else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            missing.append(f"{target}#{anchor}" if anchor else target)
    missing += [path for path in SOURCE_FILE.findall(text) if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    modules = set(MODULE.findall(page.read_text(encoding="utf-8")))
    assert {name for name in modules if importlib.util.find_spec(name.rstrip(".")) is None} == set()
