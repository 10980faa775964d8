"""Limits for the number of values in a JSON body, checked before it is parsed.

The parser holds the interpreter lock until it has created all values. Until then, the server answers no
request.
"""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.serving.errors import RequestError


@dataclass(frozen=True)
class JsonLimits:
    """The maximum number of values, and that of lists, objects, strings and keys together.

    A list or an object takes several times as long to create as a number.
    """

    values: int
    containers: int

    def check(self, body: bytes) -> None:
        """Raise RequestError if a body exceeds a limit. The characters of its strings do not count."""
        # This count includes the strings. It takes a hundredth of the time of the parser.
        if not self._problem(body):
            return
        text = body.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in body else body
        if text.count(b'"') // 2 <= self.containers:
            text = b'""'.join(text.split(b'"')[::2])
        if problem := self._problem(text):
            raise RequestError(f"the body has more than {problem}: send several requests")

    def _problem(self, text: bytes) -> str:
        """Return the limit that a body exceeds, or an empty string."""
        if text.count(b",") >= self.values:
            return f"{self.values} values"
        if text.count(b"[") + text.count(b"{") + text.count(b'"') // 2 > self.containers:
            return f"{self.containers} lists, objects, strings and keys"
        return ""


DEFAULT_LIMITS = JsonLimits(values=1 << 18, containers=1 << 16)
"""The limits of a body without a model. The parser takes about 15 ms for a body of this size."""
