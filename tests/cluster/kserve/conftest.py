"""The fixtures of the tests of KServe: a namespace with the simulated controller."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from continuous_training.artifacts.archive_writer import Archive
from tests.continuous_training.serving.toy_models import make_archive

from ..cluster_namespace import ClusterNamespace
from . import crd
from .kserve_namespace import KServeNamespace, is_kserve_installed, simulated_kserve
from .simulated_controller import SimulatedController


@pytest.fixture(scope="module")
def installed_crd(shared_namespace: ClusterNamespace) -> Iterator[None]:
    """The kind InferenceService."""
    with crd.installed(shared_namespace.cluster):
        yield


@pytest.fixture(scope="module")
def simulation(
    shared_namespace: ClusterNamespace, installed_crd: None
) -> Iterator[tuple[KServeNamespace, SimulatedController]]:
    with simulated_kserve(shared_namespace) as simulation:
        yield simulation


@pytest.fixture
def namespace(simulation: tuple[KServeNamespace, SimulatedController]) -> KServeNamespace:
    """A namespace in Standard mode for all tests; each test uses its own model name."""
    return simulation[0]


def skip_if_kserve_is_installed(namespace: ClusterNamespace) -> None:
    """Skip a test that changes the behaviour of the simulated controller."""
    if is_kserve_installed(namespace.cluster):
        pytest.skip("this test needs the simulated controller, but KServe is installed")


@pytest.fixture
def controller(
    simulation: tuple[KServeNamespace, SimulatedController],
) -> Iterator[SimulatedController]:
    """The simulated controller, without image overrides of other tests."""
    skip_if_kserve_is_installed(simulation[0])
    yield simulation[1]
    simulation[1].image_overrides.clear()
    simulation[1].deletion_seconds = 0.5


@pytest.fixture(scope="module")
def served(
    simulation: tuple[KServeNamespace, SimulatedController], tmp_path_factory: pytest.TempPathFactory
) -> Archive:
    """The served version of the model `firm`; it is still served after the test of a failed rollout."""
    archive = make_archive(tmp_path_factory.mktemp("firm"), name="firm")
    simulation[0].deploy(archive)
    return archive
