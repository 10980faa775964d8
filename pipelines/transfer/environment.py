"""The two environments of a transfer: their registries, stores and endpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from continuous_training.core.errors import PipelineError, UserError
from continuous_training.core.messages import report
from continuous_training.core.settings import ClusterSource, Settings
from continuous_training.kubeflow.object_names import KUBEFLOW_NAMESPACE

CLUSTER = "cluster:"
_REGISTRIES = ("http://", "https://", "sqlite:///")
_HINT = f"pass a state directory, the http(s) address of an MLflow server, or {CLUSTER}CONTEXT"


@dataclass(frozen=True)
class Environment:
    """One side of a transfer: its address without credentials, and its settings."""

    name: str
    settings: Settings

    @contextmanager
    def errors(self, action: str) -> Iterator[None]:
        """Add the environment and the action to an error in the block."""
        try:
            yield
        except PipelineError as error:
            raise type(error)(f"{self.name}: {action}: {error}") from error


@dataclass(frozen=True)
class Address:
    """A URI without its credentials, and the user (or access key) and the password in it."""

    uri: str
    user: str = ""
    password: str = ""

    @property
    def access(self) -> tuple[str, str] | None:
        """The access key and the secret of a store, None without credentials."""
        return (self.user, self.password) if self.user else None

    @classmethod
    def parse(cls, uri: str) -> Address:
        """Split the credentials off. A password may contain slashes and need not be encoded."""
        scheme, separator, rest = uri.partition("://")
        credentials, at, host = rest.rpartition("@")
        has_credentials = separator and at and scheme != "sqlite"
        if not has_credentials or (scheme == "s3" and ":" not in credentials):
            return cls(uri)
        user, _, password = credentials.partition(":")
        return cls(f"{scheme}://{host}", unquote(user), unquote(password))


@contextmanager
def open_environment(
    option: str, uri: str, store: str | None, variables: Mapping[str, str]
) -> Iterator[Environment]:
    """Yield the environment that a command-line option names.

    `uri` is a state directory, the address of an MLflow server, or `cluster:CONTEXT[?namespace=NAME]`.
    `store` is the value of the option OPTION-store, which an MLflow server needs. `variables` are the
    environment variables: credentials, and the endpoint of an environment with an MLflow server.
    """
    if not uri.strip():
        raise UserError(
            f"{option} is empty: pass a state directory, the address of an MLflow server, or a cluster"
        )
    if uri.startswith(CLUSTER):
        with _open_cluster(option, uri, store, variables) as environment:
            yield environment
    elif uri.startswith(_REGISTRIES):
        yield _of_registry(option, Address.parse(uri), store, variables)
    elif "://" in uri:
        raise UserError(f"{option} {Address.parse(uri).uri}: {_HINT}")
    else:
        settings = Settings.from_environment(variables, Path(uri))
        yield Environment(str(settings.state), _with_store(settings, store) if store else settings)


def _of_registry(
    option: str, registry: Address, store: str | None, variables: Mapping[str, str]
) -> Environment:
    """Return an environment whose endpoint is that of the environment variables."""
    if not store:
        raise UserError(
            f"{option} {registry.uri} is the address of a registry: pass the object store of the same "
            f"environment, too, with {option}-store"
        )
    settings = replace(Settings.from_environment(variables), registry=registry.uri)
    if registry.user or registry.password:
        settings = replace(
            settings, registry_user=registry.user, registry_password=registry.password, registry_token=""
        )
    return Environment(registry.uri, _with_store(settings, store))


def _with_store(settings: Settings, store: str) -> Settings:
    address = Address.parse(store)
    return replace(settings, store=address.uri, store_access=address.access or settings.store_access)


@contextmanager
def _open_cluster(
    option: str, uri: str, store: str | None, variables: Mapping[str, str]
) -> Iterator[Environment]:
    if store:
        raise UserError(f"{option}-store: the settings of {uri} name the store; omit the option")
    # Start-up time: the import loads the Kubernetes client, which other environments do not need.
    from continuous_training.operations.cluster_settings import open_cluster_settings

    context, _, query = uri.removeprefix(CLUSTER).partition("?")
    namespace = dict(parse_qsl(query)).get("namespace", KUBEFLOW_NAMESPACE)
    with open_cluster_settings(ClusterSource(namespace, context), variables, report) as settings:
        yield Environment(uri, settings)
