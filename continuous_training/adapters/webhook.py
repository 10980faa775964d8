"""Send the result of a run to a webhook."""

from __future__ import annotations

from dataclasses import dataclass

import requests

from continuous_training.core.json_object import Json
from continuous_training.core.messages import report


@dataclass(frozen=True)
class Notifier:
    """Posts `{"text": ..., "run": {...}}` to a webhook (Slack, Mattermost and others), if one is set."""

    webhook: str = ""

    def send(self, text: str, run: Json) -> bool:
        """Send the message. Return whether it was accepted. A failure is reported as a warning."""
        if not self.webhook:
            return False
        try:
            # A redirect could lead to an address inside the cluster, and would turn the POST into a GET.
            response = requests.post(
                self.webhook, json={"text": text, "run": run}, timeout=(5, 10), allow_redirects=False
            )
        except requests.RequestException as error:
            report(f"warning: the webhook cannot be reached: {error}")
            return False
        if response.is_redirect:
            report(
                f"warning: the webhook answers {response.status_code}, a redirect, which is not followed; "
                "set CT_WEBHOOK to the final address"
            )
        elif not response.ok:
            report(f"warning: the webhook answers {response.status_code}")
        return response.ok and not response.is_redirect
