"""Loading of a model from its folder, with the handler code of that folder."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from toy_models import make_bundle, write_package

from continuous_training.core.errors import UserError
from continuous_training.serving.models.model import load_model


def isolated_modules() -> set[str]:
    """Return the modules of all loaded bundles, including those that other tests have loaded."""
    return {name for name in sys.modules if name.startswith("_bundle_")}


def test_two_versions_are_loaded_side_by_side_and_unloaded(tmp_path: Path) -> None:
    before = isolated_modules()
    two, three = (load_model(make_bundle(tmp_path, scale=scale)) for scale in (2, 3))
    assert two.predict({"x": [1]}) == {"scale": 2, "y": [2.0]}
    assert three.predict({"x": [1]}) == {"scale": 3, "y": [3.0]}
    assert type(two.handler) is not type(three.handler)
    assert (type(two.handler).calls, type(three.handler).calls) == (1, 1)
    assert three.infer({"x": np.ones(2, np.float32)})["y"].tolist() == [3.0, 3.0]
    finders = len(sys.meta_path)
    two.unload()
    three.unload()
    assert isolated_modules() == before
    assert len(sys.meta_path) == finders - 2


def test_models_are_unloaded_by_other_threads_while_one_thread_loads(tmp_path: Path) -> None:
    """One thread at a time loads. A version is unloaded by the thread of its last request."""
    before = isolated_modules()
    bundle = make_bundle(tmp_path)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(3) as threads:
            unloads = [threads.submit(load_model(bundle).unload) for _ in range(200)]
            for unload in unloads:
                unload.result()
    finally:
        sys.setswitchinterval(interval)
    assert isolated_modules() == before


def test_the_installed_package_of_the_same_name_is_neither_used_nor_changed(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    installed = sys.modules["toy.scale.handler"]
    installed.ToyHandler.calls = 100  # type: ignore[attr-defined]
    model = load_model(bundle)
    model.predict({"x": [1]})
    assert type(model.handler).calls == 1
    assert sys.modules["toy.scale.handler"] is installed
    model.unload()


def test_loading_writes_nothing_to_the_folder(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    before = sorted(bundle.rglob("*"))
    load_model(bundle).unload()
    assert sorted(bundle.rglob("*")) == before


def test_bytecode_in_the_folder_is_ignored(tmp_path: Path) -> None:
    import py_compile

    bundle = make_bundle(tmp_path)
    source = bundle / "toy/scale/messages.py"
    original = source.read_text()
    source.write_text("raise SystemError('stale bytecode was run')")
    py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    source.write_text(original)
    model = load_model(bundle)
    assert model.handler is not None, "the bytecode was run instead of the source"
    model.unload()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../up"}, "name is '../up'"),
        ({"handler": "toy.scale.handler"}, "of the form package.module:Class"),
        ({"handler": "toy.scale.handler:MissingHandler"}, "defines no class MissingHandler"),
        ({"handler": "toy.nowhere:H"}, "needs the module toy.nowhere"),
        ({"inputs": []}, r"inputs is \[\]"),
        ({"outputs": [{"name": "y"}]}, "outputs.*(datatype|shape) is missing"),
    ],
)
def test_a_damaged_bundle_is_rejected(tmp_path: Path, change: dict[str, object], message: str) -> None:
    bundle, before = make_bundle(tmp_path), isolated_modules()
    metadata = json.loads((bundle / "model.json").read_text())
    (bundle / "model.json").write_text(json.dumps({**metadata, **change}))
    with pytest.raises(UserError, match=message):
        load_model(bundle)
    assert isolated_modules() == before


def test_absolute_imports_of_the_handlers_own_package_are_rejected(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    write_package(bundle, {"toy/scale/messages.py": "import toy.base\nUSAGE = ''\n"})
    with pytest.raises(UserError, match=r"messages.py:1: .* absolutely"):
        load_model(bundle)


def test_a_folder_without_metadata_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model\.json"):
        load_model(tmp_path)
