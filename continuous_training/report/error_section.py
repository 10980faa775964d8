"""The data of the report's section on the worst errors: the misclassified images."""

from __future__ import annotations

import base64
import io

import numpy as np
from markupsafe import Markup

from continuous_training.report.formatting import finite
from continuous_training.report.report_data import ReportData
from continuous_training.report.templating import Variables


def context(data: ReportData) -> Variables:
    """Return the template variables of this section; `errors` is empty without images."""
    return {
        "errors": [
            {
                "key": error.key,
                "actual": error.actual,
                "predicted": error.predicted,
                "champion": error.champion,
                "certainty": error.certainty if finite(error.certainty) else None,
                "png": Markup(base64.b64encode(png(error.image)).decode("ascii")),
            }
            for error in data.errors
        ],
        "error_count": len(data.predictions.wrong_rows()),
        "errors_have_certainty": bool(data.errors) and finite(data.errors[0].certainty),
    }


def png(image: np.ndarray) -> bytes:
    """Return an image, uint8 [height, width] or [height, width, 3], as a PNG file."""
    from PIL import Image  # Only workloads with images pay for this import.

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
