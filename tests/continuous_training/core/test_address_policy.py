"""The addresses to which a run parameter may lead."""

from __future__ import annotations

import ipaddress

import pytest

from continuous_training.core.address_policy import OUTSIDE_CLUSTER, AddressPolicy
from continuous_training.core.errors import UserError

IN_CLUSTER = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
FORBIDDEN = [
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "2002:a9fe:a9fe::1",
    "64:ff9b::a9fe:a9fe",
    "224.0.0.1",
]


def allows(policy: AddressPolicy, host: str, address: str = "") -> bool:
    try:
        if address:
            policy.check_address("source", host, ipaddress.ip_address(address.partition("%")[0]))
        else:
            policy.check_host("source", host)
    except UserError:
        return False
    return True


@pytest.mark.parametrize("address", FORBIDDEN)
@pytest.mark.parametrize("environment", [{}, IN_CLUSTER, {**IN_CLUSTER, "CT_SOURCE_HOSTS": "0.0.0.0/0,::/0"}])
def test_link_local_and_metadata_addresses_are_never_allowed(
    address: str, environment: dict[str, str]
) -> None:
    policy = AddressPolicy.from_environment(environment)
    assert not allows(policy, address)
    assert not allows(policy, f"[{address}]")
    assert not allows(policy, "data.example.com", address)


@pytest.mark.parametrize("host", ["metadata.google.internal", "Metadata.Google.Internal.", "metadata"])
def test_names_of_metadata_services_are_never_allowed(host: str) -> None:
    assert not allows(OUTSIDE_CLUSTER, host)
    assert not allows(AddressPolicy.from_environment({**IN_CLUSTER, "CT_SOURCE_HOSTS": host}), host)


LOCAL = ["localhost", "127.0.0.1", "127.8.8.8", "::1", "0.0.0.1", "::ffff:127.0.0.1", "::"]
SERVICES = [
    "store.ns.svc",
    "store.ns.svc.cluster.local",
    "store.ns.svc.example.org",
    "10.96.0.10",
    "10.111.2.3",
]


@pytest.mark.parametrize("host", [*LOCAL, *SERVICES])
def test_the_pod_and_services_are_allowed_only_outside_a_cluster_or_if_listed(host: str) -> None:
    assert allows(OUTSIDE_CLUSTER, host)
    assert not allows(AddressPolicy.from_environment(IN_CLUSTER), host)
    assert allows(AddressPolicy.from_environment({**IN_CLUSTER, "CT_SOURCE_HOSTS": f"other, {host}"}), host)


def test_a_listed_name_allows_the_addresses_to_which_it_resolves() -> None:
    policy = AddressPolicy.from_environment({**IN_CLUSTER, "CT_SOURCE_HOSTS": "Store.NS.svc 10.96.7.0/24"})
    assert allows(policy, "store.ns.svc", "10.96.0.10")
    assert not allows(policy, "store.other.svc", "10.96.0.10")
    assert not allows(policy, "evil.example.com", "10.96.0.10")
    assert allows(policy, "other.example.com", "10.96.7.9")
    assert not allows(policy, "store.ns.svc", "169.254.169.254")


@pytest.mark.parametrize("address", ["8.8.8.8", "10.0.0.5", "192.168.1.7", "10.112.0.1", "2001:db8::1"])
def test_other_addresses_are_allowed(address: str) -> None:
    policy = AddressPolicy.from_environment(IN_CLUSTER)
    assert allows(policy, address)
    assert allows(policy, "data.example.com", address)


@pytest.mark.parametrize(
    ("api_server", "network"),
    [
        ("10.96.0.1", "10.96.0.0/12"),
        ("10.43.0.1", "10.43.0.0/16"),
        ("172.20.0.1", "172.20.0.0/14"),
        ("34.118.224.1", "34.118.224.0/19"),
        ("fd00:1234::1", "fd00:1234::/108"),
    ],
)
def test_the_network_of_the_services_starts_before_the_api_server(api_server: str, network: str) -> None:
    policy = AddressPolicy.from_environment({"KUBERNETES_SERVICE_HOST": api_server})
    assert str(policy.service_network) == network


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "https://store", "10.0.0.1/8"])
def test_an_invalid_setting_is_rejected(entry: str) -> None:
    with pytest.raises(UserError, match="CT_SOURCE_HOSTS"):
        AddressPolicy.from_environment({"CT_SOURCE_HOSTS": entry})
