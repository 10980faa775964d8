"""The example of the Secrets, and the generator of random Secrets."""

from __future__ import annotations

import base64
import binascii
import subprocess

import pytest
import yaml

from .rendering import MANIFESTS
from .test_render import example


def test_the_example_contains_no_values_and_is_not_valid_base64() -> None:
    for secret in example():
        for value in secret["data"].values():
            with pytest.raises(binascii.Error):
                base64.b64decode(value, validate=True)


def test_the_generator_creates_new_values_each_time() -> None:
    def generate() -> dict[str, dict[str, str]]:
        text = subprocess.run(
            [MANIFESTS / "secrets.sh"], capture_output=True, text=True, check=True, cwd="/"
        ).stdout
        return {secret["metadata"]["name"]: secret["data"] for secret in yaml.safe_load_all(text)}

    first, second = generate(), generate()
    assert {name: set(data) for name, data in first.items()} == {
        secret["metadata"]["name"]: set(secret["data"]) for secret in example()
    }
    values = [value for secrets in (first, second) for data in secrets.values() for value in data.values()]
    assert len(set(values)) == len(values)
    # Hexadecimal values need no quoting in a URL, a shell or a connection string.
    assert all(int(base64.b64decode(value, validate=True), 16).bit_length() > 128 for value in values)
