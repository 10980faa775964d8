from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_models import make_bundle, write_package

from continuous_training.core.errors import UserError
from continuous_training.serving.models.model import load_model


def private_modules() -> set[str]:
    """Modules of all bundles that this process holds: other tests may keep models of their own."""
    return {name for name in sys.modules if name.startswith("_bundle_")}


def test_two_versions_live_side_by_side_and_are_forgotten_when_unloaded(tmp_path: Path) -> None:
    before = private_modules()
    two, three = (load_model(make_bundle(tmp_path, scale=scale)) for scale in (2, 3))
    assert two.predict({"x": [1]}) == {"scale": 2, "y": [2.0]}
    assert three.predict({"x": [1]}) == {"scale": 3, "y": [3.0]}
    assert type(two.handler) is not type(three.handler)
    assert (type(two.handler).calls, type(three.handler).calls) == (1, 1)
    assert three.infer({"x": np.ones(2, np.float32)})["y"].tolist() == [3.0, 3.0]
    finders = len(sys.meta_path)
    two.unload()
    three.unload()
    assert private_modules() == before
    assert len(sys.meta_path) == finders - 2


def test_neither_sees_nor_touches_the_installed_package(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    installed = sys.modules["toy.scale.handler"]
    installed.ToyHandler.calls = 100  # type: ignore[attr-defined]
    model = load_model(bundle)
    model.predict({"x": [1]})
    assert type(model.handler).calls == 1
    assert sys.modules["toy.scale.handler"] is installed
    model.unload()


def test_writes_nothing_into_the_folder(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    before = sorted(bundle.rglob("*"))
    load_model(bundle).unload()
    assert sorted(bundle.rglob("*")) == before


def test_bytecode_in_the_folder_is_not_trusted(tmp_path: Path) -> None:
    import py_compile

    bundle = make_bundle(tmp_path)
    source = bundle / "toy/scale/words.py"
    good = source.read_text()
    source.write_text("raise SystemError('stale bytecode was run')")
    py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    source.write_text(good)
    model = load_model(bundle)
    assert model.handler is not None, "the source was run, not the bytecode beside it"
    model.unload()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../up"}, "name is '../up'"),
        ({"handler": "toy.scale.handler"}, "of the form package.module:Class"),
        ({"handler": "toy.scale.handler:Nobody"}, "defines no class Nobody"),
        ({"handler": "toy.nowhere:H"}, "needs the module toy.nowhere"),
        ({"inputs": []}, r"inputs is \[\]"),
        ({"outputs": [{"name": "y"}]}, "outputs.*datatype is missing|outputs.*shape is missing"),
    ],
)
def test_refuses_a_bundle_that_is_not_one(tmp_path: Path, change: dict[str, object], message: str) -> None:
    bundle, before = make_bundle(tmp_path), private_modules()
    metadata = json.loads((bundle / "model.json").read_text())
    (bundle / "model.json").write_text(json.dumps({**metadata, **change}))
    with pytest.raises(UserError, match=message):
        load_model(bundle)
    assert private_modules() == before


def test_refuses_absolute_imports_of_the_handlers_own_package(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    write_package(bundle, {"toy/scale/words.py": "import toy.base\nWANTED = ''\n"})
    with pytest.raises(UserError, match=r"words.py:1: .* absolutely"):
        load_model(bundle)


def test_says_that_a_folder_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"contains no model.json"):
        load_model(tmp_path)
