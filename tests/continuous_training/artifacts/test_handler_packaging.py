from __future__ import annotations

from pathlib import Path

import pytest

from continuous_training.artifacts.handler_packaging import copy_handler
from continuous_training.core.errors import UserError
from tests.continuous_training.serving.toy_models import import_handler, toy_files


def contents(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_all_relative_imports_are_copied_and_packages_are_emptied(tmp_path: Path) -> None:
    files = toy_files()
    copy_handler(import_handler(tmp_path / "src", files, "toy.scale.handler", "ToyHandler"), tmp_path / "out")
    modules = ("toy/base.py", "toy/scale/handler.py", "toy/scale/messages.py")
    empty = {"toy/__init__.py": "", "toy/scale/__init__.py": ""}
    assert contents(tmp_path / "out") == {**{name: files[name] for name in modules}, **empty}


def test_circular_imports_and_imports_inside_functions_are_followed(tmp_path: Path) -> None:
    files = {
        "circular/__init__.py": "",
        "circular/handler.py": "from .first import f\nclass H: pass\n",
        "circular/first.py": "def f():\n    from . import second\n",
        "circular/second.py": "from .first import f\n",
    }
    copy_handler(import_handler(tmp_path / "src", files, "circular.handler", "H"), tmp_path / "out")
    assert contents(tmp_path / "out") == files


def test_a_handler_in_a_top_level_module_is_copied(tmp_path: Path) -> None:
    files = {"single_module.py": "import json\nclass H: pass\n"}
    copy_handler(import_handler(tmp_path / "src", files, "single_module", "H"), tmp_path / "out")
    assert contents(tmp_path / "out") == files


INVALID_IMPORTS = {
    "absolute": ("import bad.other", "bad.other absolutely; import it relatively"),
    "absolute from": ("from bad import other", "bad absolutely"),
    "missing": ("def f():\n    from .nowhere import x", "no module bad.nowhere"),
    "name of a package": ("from . import CONSTANT", "bad.CONSTANT is not a module"),
    "star of a package": ("from .sub import *", r"bad.sub.\* is not a module"),
    "above the top": ("def f():\n    from .. import x", "above the handler's top-level package"),
}


@pytest.mark.parametrize("case", INVALID_IMPORTS)
def test_an_import_that_the_copy_cannot_resolve_is_rejected_with_file_and_line(
    tmp_path: Path, case: str
) -> None:
    line, message = INVALID_IMPORTS[case]
    files = {
        "bad/__init__.py": "CONSTANT = 1\n",
        "bad/other.py": "",
        "bad/sub/__init__.py": "",
        "bad/handler.py": f"{line}\nclass H: pass\n",
    }
    handler = import_handler(tmp_path / "src", files, "bad.handler", "H")
    with pytest.raises(UserError, match=message) as rejection:
        copy_handler(handler, tmp_path / "out")
    assert "handler.py:" in str(rejection.value)
    assert not (tmp_path / "out").exists()


def test_a_handler_in_the_init_of_a_package_is_rejected(tmp_path: Path) -> None:
    handler = import_handler(tmp_path / "src", {"inside/__init__.py": "class H: pass\n"}, "inside", "H")
    with pytest.raises(UserError, match="a module of its own"):
        copy_handler(handler, tmp_path / "out")


def test_a_library_that_servers_do_not_have_is_rejected(tmp_path: Path) -> None:
    files = {"foreign.py": "import json\nimport numpy as np\nfrom sklearn.svm import SVC\nclass H: pass\n"}
    handler = import_handler(tmp_path / "src", files, "foreign", "H")
    with pytest.raises(UserError, match=r"foreign.py:3: .* imports sklearn.svm, which servers do not have"):
        copy_handler(handler, tmp_path / "out")
