"""Which network addresses a run parameter may lead to.

A user who may start a run chooses its source, but the step that reads the source has the network access of
a pod in the cluster. Such an address never leads to a link-local or metadata address. Inside a
cluster, it leads to the pod itself (loopback) or to a Service only if the operator's setting CT_SOURCE_HOSTS
lists the host, the address or its network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from continuous_training.core.errors import UserError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_FORBIDDEN = tuple(
    map(
        ipaddress.ip_network,
        (
            "169.254.0.0/16",  # link-local, and the metadata of AWS, Azure, Google and others
            "fe80::/10",
            "fd00:ec2::/32",  # metadata and other services of AWS
            "fd20:ce::254/128",  # metadata of Google
            "100.100.100.200/32",  # metadata of Alibaba
            "168.63.129.16/32",  # the agent of Azure
            "192.0.0.192/32",  # metadata of Oracle
            "224.0.0.0/4",
            "ff00::/8",
            "255.255.255.255/32",
        ),
    )
)
_METADATA_NAMES = {"metadata", "metadata.google.internal", "metadata.goog", "instance-data"}
_LOOPBACK = tuple(map(ipaddress.ip_network, ("127.0.0.0/8", "::1/128", "0.0.0.0/8", "::/128")))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LARGEST_SERVICE_NETWORK = {4: 12, 6: 108}
"""The shortest prefix that Kubernetes accepts for the network of the Services."""


@dataclass(frozen=True)
class AddressPolicy:
    """The addresses that a run parameter may lead to.

    `service_network` is the network of the cluster's Services, None outside a cluster. `hosts` and `networks`
    are those that the operator lists.
    """

    service_network: Network | None = None
    hosts: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    @property
    def is_in_cluster(self) -> bool:
        """Whether this process runs in a pod."""
        return self.service_network is not None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> AddressPolicy:
        """Read CT_SOURCE_HOSTS, and KUBERNETES_SERVICE_HOST, which is set in each pod."""
        hosts: list[str] = []
        networks: list[Network] = []
        for entry in environment.get("CT_SOURCE_HOSTS", "").replace(",", " ").split():
            try:
                networks.append(ipaddress.ip_network(entry.strip("[]")))
            except ValueError as error:
                if "/" in entry or "://" in entry:
                    raise UserError(
                        f"CT_SOURCE_HOSTS: {entry!r} is not a host, an address or a network ({error})"
                    ) from None
                hosts.append(_normalized(entry))
        api_server = environment.get("KUBERNETES_SERVICE_HOST", "")
        return cls(_service_network(api_server) if api_server else None, tuple(hosts), tuple(networks))

    def check_host(self, label: str, host: str) -> None:
        """Raise UserError if the name of a host, or the address in it, is not allowed. Resolves nothing."""
        name = _normalized(host)
        if address := parse_address(name):
            self.check_address(label, host, address)
        elif name in _METADATA_NAMES:
            raise _forbidden(label, host, "is a metadata service of a cloud")
        elif self.service_network and not self.lists(name):
            if name == "localhost" or name.endswith(".localhost"):
                raise _not_listed(label, host, "is this pod")
            if name.endswith((".svc", ".cluster.local")) or ".svc." in name:
                raise _not_listed(label, host, "is a Service of the cluster")

    def check_address(self, label: str, host: str, address: Address) -> None:
        """Raise UserError if the address, to which `host` leads, is not allowed."""
        addresses = _with_embedded(address)
        where = host if host.strip("[]") == str(address) else f"{host} ({address})"
        if any(_is_in(a, _FORBIDDEN) for a in addresses):
            raise _forbidden(label, where, "is a link-local, multicast or metadata address")
        if self.service_network is None or self._lists(host, addresses):
            return
        if any(_is_in(a, _LOOPBACK) for a in addresses):
            raise _not_listed(label, where, "is this pod")
        if any(_is_in(a, (self.service_network,)) for a in addresses):
            raise _not_listed(label, where, f"is in the network {self.service_network} of the Services")

    def lists(self, host: str) -> bool:
        """Return whether the operator lists the name of the host."""
        return _normalized(host) in self.hosts

    def _lists(self, host: str, addresses: tuple[Address, ...]) -> bool:
        return self.lists(host) or any(_is_in(address, self.networks) for address in addresses)


OUTSIDE_CLUSTER = AddressPolicy()
"""The policy of a machine that is not in a cluster, such as a laptop: `localhost` is allowed."""


def parse_address(host: str) -> Address | None:
    """Return the IP address that a host is, without a zone and brackets, or None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _normalized(host: str) -> str:
    return host.lower().rstrip(".")


def _with_embedded(address: Address) -> tuple[Address, ...]:
    """Return the address and the IPv4 addresses that it contains: mapped, 6to4, Teredo and NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    embedded = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or int(address) >> 32 == 0:
        embedded.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return (address, *(a for a in embedded if a))


def _is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _service_network(api_server: str) -> Network | None:
    """Return the network of the Services. The API server has its first address.

    Its size is not known in a pod, so this is the largest network that starts before this address.
    """
    address = parse_address(api_server)
    if address is None:
        return ipaddress.ip_network("10.96.0.0/12")
    base = int(address) - 1
    bits = address.max_prefixlen
    zeros = (base & -base).bit_length() - 1 if base else bits
    prefix = max(bits - zeros, _LARGEST_SERVICE_NETWORK[address.version])
    return ipaddress.ip_network((base, prefix))


def _forbidden(label: str, host: str, reason: str) -> UserError:
    return UserError(f"{label}: {host} {reason}; a run parameter must not lead there")


def _not_listed(label: str, host: str, reason: str) -> UserError:
    return UserError(
        f"{label}: {host} {reason}, to which a run parameter may lead only if the operator lists the host in "
        "CT_SOURCE_HOSTS"
    )
