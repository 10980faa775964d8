"""Notifications by e-mail."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage

from continuous_training.adapters.notifications.notification import Notification
from continuous_training.core.notification_settings import MailServer

TIMEOUT = 10.0
"""Seconds for each response of the mail server."""


def send_mail(notification: Notification, server: MailServer) -> None:
    """Send the notification. Raises OSError or SMTPException.

    The connection is encrypted from the start, or with STARTTLS if the server offers it. A login requires
    encryption, because the password would be readable without.
    """
    context = ssl.create_default_context()
    if server.encrypted:
        with smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT, context=context) as connection:
            _send(connection, notification, server, encrypted=True)
        return
    with smtplib.SMTP(server.host, server.port, timeout=TIMEOUT) as connection:
        connection.ehlo()
        encrypted = connection.has_extn("starttls")
        if encrypted:
            connection.starttls(context=context)
        _send(connection, notification, server, encrypted=encrypted)


def _send(
    connection: smtplib.SMTP, notification: Notification, server: MailServer, *, encrypted: bool
) -> None:
    if server.user:
        if not encrypted:
            raise smtplib.SMTPNotSupportedError("the server offers no encryption, which a login requires")
        connection.login(server.user, server.password)
    connection.send_message(message_of(notification, server))


def message_of(notification: Notification, server: MailServer) -> EmailMessage:
    """Return the message: the verdict in the subject; reasons, details and the report's URL in the text."""
    message = EmailMessage()
    message["Subject"] = " ".join(f"{notification.workload}: {notification.verdict}".split())
    message["From"], message["To"] = server.sender, ", ".join(server.recipients)
    lines = [
        notification.text,
        "",
        *(f"{label}: {value}" for label, value in notification.details),
        f"run: {notification.run}",
        *([f"report: {notification.page}"] if notification.page else []),
    ]
    message.set_content("\n".join(lines) + "\n")
    return message
