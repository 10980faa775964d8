from __future__ import annotations

from pathlib import Path

import pytest
from toy_models import import_handler, toy_files

from continuous_training.artifacts.handler_packaging import copy_handler
from continuous_training.core.errors import UserError


def copied(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_copies_the_closure_of_relative_imports_and_empties_the_packages(tmp_path: Path) -> None:
    files = toy_files()
    copy_handler(import_handler(tmp_path / "src", files, "toy.scale.handler", "ToyHandler"), tmp_path / "out")
    kept = ("toy/base.py", "toy/scale/handler.py", "toy/scale/words.py")
    empty = {"toy/__init__.py": "", "toy/scale/__init__.py": ""}
    assert copied(tmp_path / "out") == {**{name: files[name] for name in kept}, **empty}


def test_follows_imports_of_imports_in_circles_and_inside_of_functions(tmp_path: Path) -> None:
    files = {
        "ring/__init__.py": "",
        "ring/handler.py": "from .one import f\nclass H: pass\n",
        "ring/one.py": "def f():\n    from . import two\n",
        "ring/two.py": "from .one import f\n",
    }
    copy_handler(import_handler(tmp_path / "src", files, "ring.handler", "H"), tmp_path / "out")
    assert copied(tmp_path / "out") == files


def test_copies_a_handler_that_is_one_lone_module(tmp_path: Path) -> None:
    files = {"lonely.py": "import json\nclass H: pass\n"}
    copy_handler(import_handler(tmp_path / "src", files, "lonely", "H"), tmp_path / "out")
    assert copied(tmp_path / "out") == files


BAD = {
    "absolute": ("import bad.other", "bad.other absolutely; import it relatively"),
    "absolute from": ("from bad import other", "bad absolutely"),
    "missing": ("def f():\n    from .nowhere import x", "no module bad.nowhere"),
    "name of a package": ("from . import CONSTANT", "bad.CONSTANT is not a module"),
    "star of a package": ("from .sub import *", r"bad.sub.\* is not a module"),
    "above the top": ("def f():\n    from .. import x", "above the handler's top-level package"),
}


@pytest.mark.parametrize("case", BAD)
def test_refuses_what_cannot_travel_and_says_where(tmp_path: Path, case: str) -> None:
    line, message = BAD[case]
    files = {
        "bad/__init__.py": "CONSTANT = 1\n",
        "bad/other.py": "",
        "bad/sub/__init__.py": "",
        "bad/handler.py": f"{line}\nclass H: pass\n",
    }
    handler = import_handler(tmp_path / "src", files, "bad.handler", "H")
    with pytest.raises(UserError, match=message) as refused:
        copy_handler(handler, tmp_path / "out")
    assert "handler.py:" in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_refuses_a_handler_that_lives_in_a_packages_init(tmp_path: Path) -> None:
    handler = import_handler(tmp_path / "src", {"inside/__init__.py": "class H: pass\n"}, "inside", "H")
    with pytest.raises(UserError, match="a module of its own"):
        copy_handler(handler, tmp_path / "out")


def test_refuses_a_library_that_servers_do_not_have(tmp_path: Path) -> None:
    files = {"lonely2.py": "import json\nimport numpy as np\nfrom sklearn.svm import SVC\nclass H: pass\n"}
    handler = import_handler(tmp_path / "src", files, "lonely2", "H")
    with pytest.raises(UserError, match=r"lonely2.py:3: .* imports sklearn.svm, which servers lack"):
        copy_handler(handler, tmp_path / "out")
