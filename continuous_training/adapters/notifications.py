"""Tells people, or their machines, what a run came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests

from continuous_training.core.messages import report


@dataclass(frozen=True)
class Notifier:
    """Posts `{"text": ..., "run": {...}}` to a webhook (Slack, Mattermost and the like), if there is one."""

    webhook: str = ""

    def send(self, text: str, run: dict[str, Any]) -> bool:
        """Send the message; returns whether it arrived. A run does not fail because nobody listens."""
        if not self.webhook:
            return False
        try:
            response = requests.post(self.webhook, json={"text": text, "run": run}, timeout=(5, 10))
        except requests.RequestException as error:
            report(f"warning: the webhook cannot be reached: {error}")
            return False
        if not response.ok:
            report(f"warning: the webhook answers {response.status_code}")
        return response.ok
