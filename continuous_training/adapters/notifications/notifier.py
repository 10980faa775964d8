"""Send notifications. A notification that cannot be sent is a warning and never an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from smtplib import SMTPException

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from continuous_training.adapters.notifications.mail import send_mail
from continuous_training.adapters.notifications.notification import Notification
from continuous_training.adapters.notifications.webhook_body import webhook_body
from continuous_training.core.messages import report
from continuous_training.core.notification_settings import NotificationSettings

WEBHOOK, MAIL = "webhook", "mail"
RETRIES = 2
TEMPORARY_STATUSES = (429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Notifier:
    """Sends notifications to the channels of the settings.

    A request that fails temporarily is repeated twice; `backoff` is the time in seconds before the second
    repetition. Redirects are not followed.
    """

    settings: NotificationSettings = field(default_factory=NotificationSettings)
    backoff: float = 1.0

    def send(self, notification: Notification, earlier: frozenset[str] = frozenset()) -> frozenset[str]:
        """Send the notification to each channel that is not in `earlier`. Return those that accept it."""
        return frozenset(
            name
            for name, send in self._channels()
            if name not in earlier and _succeeds(name, send, notification)
        )

    def _channels(self) -> Iterator[tuple[str, Callable[[Notification], None]]]:
        if self.settings.webhook:
            yield WEBHOOK, self._post
        mail = self.settings.mail
        if mail is not None:
            yield MAIL, lambda notification: send_mail(notification, mail)

    def _post(self, notification: Notification) -> None:
        body = webhook_body(notification, self.settings.format)
        retry = Retry(
            RETRIES,
            backoff_factor=self.backoff / 2,
            status_forcelist=TEMPORARY_STATUSES,
            allowed_methods=None,
            raise_on_status=False,
        )
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=retry))
            response = session.post(
                self.settings.webhook,
                data=body.content,
                headers={"Content-Type": body.content_type},
                timeout=(5, 10),
                allow_redirects=False,
            )
        if response.is_redirect:
            # It could lead to an address inside the cluster, and would turn the POST into a GET.
            hint = "which is not followed; set CT_WEBHOOK to the final address"
            raise RejectedError(f"{response.status_code}, a redirect, {hint}")
        if not response.ok:
            raise RejectedError(response.status_code)


class RejectedError(Exception):
    """The webhook answers with this status."""


def _succeeds(name: str, send: Callable[[Notification], None], notification: Notification) -> bool:
    try:
        send(notification)
    except RejectedError as error:
        report(f"warning: the webhook answers {error}")
    except requests.RequestException as error:
        # Not the text of the error, which contains the address: it is a secret.
        report(f"warning: the webhook cannot be reached: {type(error).__name__}")
    except (OSError, SMTPException) as error:
        report(f"warning: the {name} was not sent: {error}")
    else:
        return True
    return False
