"""Push the names of an image, which may be in several registries, and compare the digests."""

from __future__ import annotations

from collections.abc import Sequence

from continuous_training.adapters.docker_cli import push_image, pushed_digest
from continuous_training.core.errors import UserError


def push_names(names: Sequence[str]) -> dict[str, str]:
    """Push an image under each name. Return the digest of each name.

    Raises UserError if a registry rejects the push or the digests differ.
    """
    digests: dict[str, str] = {}
    for name in names:
        push_image(name)
        digests[name] = pushed_digest(name) or ""
    if "" in digests.values() or len(set(digests.values())) > 1:
        described = ", ".join(f"{name}: {digest or 'unknown'}" for name, digest in digests.items())
        raise UserError(
            f"the image was pushed, but its digests are not equal ({described}). Docker compressed a layer "
            "again for one of the registries; copy the image from the first registry to the others, with its "
            "digest: docker buildx imagetools create --prefer-index=false --tag NAME FIRST@DIGEST"
        )
    return digests
