"""The settings of notifications, read from environment variables.

| variable | meaning | default |
|---|---|---|
| CT_NOTIFY | which runs are announced: `changed` (all but unchanged ones), `all` or `failed` | changed |
| CT_WEBHOOK | a URL that receives the result of each run | none |
| CT_WEBHOOK_FORMAT | the body of these requests: `json`, `slack`, `slack-buttons` or `cloudevents` | json |
| CT_SMTP | the mail server: smtp://[USER@]HOST[:PORT] or smtps://... | none |
| CT_SMTP_PASSWORD | the password of USER | none |
| CT_MAIL_FROM, CT_MAIL_TO | the sender and the recipients (separated by commas) | required with CT_SMTP |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from continuous_training.core.errors import UserError

FORMATS = ("json", "slack", "slack-buttons", "cloudevents")
SELECTIONS = ("changed", "all", "failed")
UNSUCCESSFUL_VERDICTS = ("failed", "reverted", "interrupted")


@dataclass(frozen=True)
class MailServer:
    """The mail server, the sender and the recipients. `user` is empty for a server without a login."""

    host: str
    port: int
    encrypted: bool
    sender: str
    recipients: tuple[str, ...]
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class NotificationSettings:
    """Which runs are announced, and where. `mail` is None without a mail server."""

    selection: str = "changed"
    webhook: str = ""
    format: str = "json"
    mail: MailServer | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> NotificationSettings:
        """Read the settings. Raises UserError for an invalid or a missing value."""
        return cls(
            selection=_choice(environment, "CT_NOTIFY", SELECTIONS),
            webhook=environment.get("CT_WEBHOOK", ""),
            format=_choice(environment, "CT_WEBHOOK_FORMAT", FORMATS),
            mail=_mail_server(environment) if environment.get("CT_SMTP") else None,
        )

    @property
    def has_channel(self) -> bool:
        """Whether there is a webhook or a mail server."""
        return bool(self.webhook or self.mail)

    def selects(self, verdict: str) -> bool:
        """Return whether a run with this verdict is announced."""
        if self.selection == "failed":
            return verdict in UNSUCCESSFUL_VERDICTS
        return self.selection == "all" or verdict != "unchanged"


def _choice(environment: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = environment.get(name) or choices[0]
    if value not in choices:
        raise UserError(f"{name} is {value!r}: it must be one of {', '.join(choices)}")
    return value


def _mail_server(environment: Mapping[str, str]) -> MailServer:
    address = environment["CT_SMTP"]
    url = urlsplit(address)
    port = _port(url)
    if url.scheme not in ("smtp", "smtps") or not url.hostname or port is None or url.password:
        raise UserError(
            f"CT_SMTP is {_without_login(address)!r}: it must be smtp://[USER@]HOST[:PORT] or "
            "smtps://[USER@]HOST[:PORT], with the password in CT_SMTP_PASSWORD"
        )
    sender, recipients = environment.get("CT_MAIL_FROM", ""), environment.get("CT_MAIL_TO", "")
    for name, value in (("CT_MAIL_FROM", sender), ("CT_MAIL_TO", recipients)):
        if "@" not in value:
            raise UserError(f"{name} is {value!r}: with CT_SMTP, it must be an e-mail address")
    return MailServer(
        host=url.hostname,
        port=port,
        encrypted=url.scheme == "smtps",
        sender=sender,
        recipients=tuple(part.strip() for part in recipients.split(",") if part.strip()),
        user=url.username or "",
        password=environment.get("CT_SMTP_PASSWORD", ""),
    )


def _port(url: SplitResult) -> int | None:
    try:
        return url.port or (465 if url.scheme == "smtps" else 587)
    except ValueError:
        return None


def _without_login(address: str) -> str:
    """Return the address for a message. The part before the host may contain a password."""
    login, _, host = address.rpartition("@")
    return f"...@{host}" if login else address
