"""Build the image of a package with Docker."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from continuous_training.adapters.docker_cli import run_docker

from .serving_image import ServingImage

PORT = 8080

_HEALTH_CHECK = (
    f"import http.client as h; c = h.HTTPConnection('127.0.0.1', {PORT}, timeout=4); "
    "c.request('GET', '/v2/health/ready'); raise SystemExit(c.getresponse().status != 200)"
)

DOCKERFILE = f"""\
ARG SERVING_IMAGE
# hadolint ignore=DL3006
FROM ${{SERVING_IMAGE}}
COPY model.mar /models/
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-ESc", "{_HEALTH_CHECK}"]
EXPOSE {PORT}
ENTRYPOINT ["python", "-m", "serving", "serve", "--host", "0.0.0.0", "--port", "{PORT}", \
"--archive", "/models/model.mar"]
CMD []
"""
"""The user and the other settings are those of the model server's image."""


def build_image(archive: Path, image: ServingImage, labels: Mapping[str, str]) -> str:
    """Build the image from the model server's image and the archive. Return its id.

    Raises UserError if Docker fails.
    """
    with tempfile.TemporaryDirectory(prefix="package-") as temporary:
        context, id_file = Path(temporary) / "context", Path(temporary) / "id"
        context.mkdir()
        (context / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
        model = Path(shutil.copyfile(archive, context / "model.mar"))
        # The layer depends only on the content of the archive, not on the file's time and permissions.
        model.chmod(0o644)
        os.utime(model, (0, 0))
        run_docker(
            [
                *("build", "--iidfile", str(id_file), "--build-arg", f"SERVING_IMAGE={image.name}"),
                *(f"--label={name}={value}" for name, value in labels.items()),
                str(context),
            ],
            "the build of the package failed; see the output of Docker above",
        )
        return id_file.read_text(encoding="utf-8").strip()
