"""The address of a PostgreSQL database in the forms of libpq, without user and password.

postgresql://HOST[:PORT][,HOST[:PORT]...]/DATABASE[?target_session_attrs=read-write&sslmode=...]. The host may
be the folder of a Unix socket. With ?service=NAME, it is that of an entry in the operator's service file
(PGSERVICEFILE).
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from continuous_training.adapters.guarded_connections import resolve
from continuous_training.core.address_policy import AddressPolicy, parse_address
from continuous_training.core.errors import TransientError, UserError

_SECRETS = {"user", "password", "passfile", "sslpassword", "oauth_client_secret"}
_SUPPORTED = {
    *("host", "hostaddr", "port", "dbname", "service", "target_session_attrs", "load_balance_hosts"),
    *("sslmode", "sslnegotiation", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslsni"),
    *(
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        "channel_binding",
        "require_auth",
        "gssencmode",
    ),
    *("connect_timeout", "tcp_user_timeout", "keepalives", "keepalives_idle", "keepalives_interval"),
    *("keepalives_count", "application_name"),
}


@dataclass(frozen=True)
class DatabaseAddress:
    """An address. `parameters` are libpq's, and `label` is the address for messages."""

    label: str
    parameters: dict[str, str]

    @classmethod
    def parse(cls, source: str) -> DatabaseAddress:
        """Read an address as libpq does. Raises UserError for an invalid one, and for one with secrets."""
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict

        scheme, separator, rest = source.partition("://")
        if scheme not in {"postgresql", "postgres"} or not separator:
            label = source.partition("?")[0].rpartition("@")[2]
            raise UserError(f"source {label}: give postgresql://HOST:PORT/DATABASE")
        try:
            parsed = conninfo_to_dict(source)
        except ProgrammingError as error:
            # The message of libpq may contain parts of the address, and with them a password.
            hint = "" if "@" in rest or "password" in rest else f": {' '.join(str(error).split())}"
            raise UserError(f"the address of the database is invalid{hint}") from None
        parameters = {name: str(value) for name, value in parsed.items() if value is not None}
        label = _label(parameters)
        if not all(port.isdigit() or not port for port in parameters.get("port", "").split(",")):
            raise UserError(f"the address of the database is invalid: {label} has a port that is no number")
        if "@" in rest.partition("?")[0].partition("/")[0] or parameters.keys() & _SECRETS:
            raise UserError(
                f"source {label}: do not put user and password into an address, because addresses are "
                "logged; set PGUSER and PGPASSWORD, or PGPASSFILE"
            )
        if unsupported := sorted(parameters.keys() - _SUPPORTED):
            raise UserError(
                f"source {label}: {', '.join(unsupported)} is not supported in an address; supported are "
                f"{', '.join(sorted(_SUPPORTED))}"
            )
        return cls(label, parameters)

    def resolved(self, policy: AddressPolicy) -> dict[str, str]:
        """Return libpq's parameters with the checked IP address of each host, to which libpq then connects.

        Raises UserError if a host leads to an address that is not allowed or has no address, and
        TransientError if no host can be resolved at the moment. The hosts of a service file and of PGHOST are
        the operator's and are not checked.
        """
        hosts = self.parameters.get("host", "").split(",") if "host" in self.parameters else []
        ips = self.parameters.get("hostaddr", "").split(",") if "hostaddr" in self.parameters else []
        if not any(hosts) and not any(ips):
            return self.parameters
        count = max(len(hosts), len(ips))
        ports = self.parameters.get("port", "").split(",")
        entries: list[tuple[str, str, str]] = []
        problems: list[socket.gaierror] = []
        for index in range(count):
            host = hosts[index] if index < len(hosts) else ""
            port = ports[index] if len(ports) == count else ports[0]
            try:
                addresses = self._addresses(policy, host, ips[index] if ips else "", port)
            except socket.gaierror as error:
                problems.append(error)
                continue
            entries += [(host, address, port) for address in addresses]
        if not entries:
            raise _lookup_error(self.label, problems[0])
        columns = (",".join(column) for column in zip(*entries, strict=True))
        checked = dict(zip(("host", "hostaddr", "port"), columns, strict=True))
        # Without a port, libpq uses that of PGPORT.
        return {**self.parameters, **{name: text for name, text in checked.items() if text.strip(",")}}

    def _addresses(self, policy: AddressPolicy, host: str, hostaddr: str, port: str) -> list[str]:
        """Return the allowed addresses of one host. Empty text: the folder of a Unix socket."""
        if hostaddr:
            address = parse_address(hostaddr)
            if address is None:
                raise UserError(f"source {self.label}: hostaddr {hostaddr} is not an IP address")
            policy.check_address(self.label, host or hostaddr, address)
            return [hostaddr]
        if not host or host.startswith(("/", "@")):
            policy.check_host(self.label, "localhost")
            return [""]
        return resolve(policy, self.label, host, int(port or 0))


def _label(parameters: dict[str, str]) -> str:
    hosts = parameters.get("host", parameters.get("hostaddr", "")).split(",")
    ports = parameters.get("port", "").split(",")
    ports = ports if len(ports) == len(hosts) else ports * len(hosts)
    names = (f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=True))
    service = f"?service={parameters['service']}" if "service" in parameters else ""
    return f"postgresql://{','.join(names)}/{parameters.get('dbname', '')}{service}"


def _lookup_error(label: str, error: socket.gaierror) -> UserError | TransientError:
    if error.errno == socket.EAI_AGAIN:
        return TransientError(f"{label}: the name of the host cannot be resolved at the moment")
    return UserError(f"{label}: there is no such host ({error.strerror}); check the address and the network")
