"""A hundred version switches under the load of 32 clients lose no request and no memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from toy_models import make_archive

from benchmarks.swaps import swap_under_load

SWITCHES = 100


@pytest.mark.parametrize("tool", ["wrk", "Python"])
def test_version_switches_under_load_lose_no_request_and_no_memory(
    state: Path, tmp_path: Path, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tool == "Python":
        monkeypatch.setattr(shutil, "which", lambda _: None)
    elif shutil.which("wrk") is None:
        pytest.skip("wrk is not installed: apt-get install wrk")
    state.mkdir()
    versions = [make_archive(tmp_path, scale=scale) for scale in (2, 3)]
    result = swap_under_load(versions, {"x": [1.0, 4.0]}, SWITCHES, 32, state)
    assert result.load.tool == tool
    assert result.load.lost == 0
    assert result.load.answered > SWITCHES
    assert len(result.memory) == SWITCHES
    # A version that is not unloaded keeps its ONNX session, its code and its folder.
    assert result.leaked < 5, f"memory after each switch, in MiB: {result.memory}"
    assert not list((state / "serving").glob(".work-*")), "the folder of the versions was not removed"
