"""The section on mistakes: each as a picture, with what it is and what it was taken for."""

from __future__ import annotations

import base64
import io

import numpy as np

from continuous_training.report.formatting import escape, finite, number
from continuous_training.report.report_data import Facts, Mistake
from continuous_training.report.result_sections import section


def mistakes(facts: Facts) -> str:
    """Return the worst mistakes as pictures; nothing where there are none, or rows are no pictures."""
    if not facts.mistakes:
        return ""
    wrong = int((facts.predicted != facts.actual).sum())
    few = len(facts.mistakes) < wrong
    told = (
        f"{len(facts.mistakes)} of the {wrong} rows of the holdout"
        if few
        else f"All {wrong} rows of the holdout"
    )
    order = ", the surest first" if finite(facts.mistakes[0].certainty) else ""
    shown = "".join(map(_shown, facts.mistakes))
    return section(
        "Worst mistakes",
        f'<p class="note">{told} that the challenger took for something else{order}.</p>'
        f'<div class="mistakes">{shown}</div>',
    )


def _shown(mistake: Mistake) -> str:
    words = f"{escape(mistake.actual)} taken for {escape(mistake.predicted)}"
    details = [f"<code>{escape(mistake.key)}</code>"]
    if finite(mistake.certainty):
        details.append(f"sure: {number(float(mistake.certainty))}")
    if mistake.champion is not None:
        details.append(f"champion: {escape(mistake.champion)}")
    picture = base64.b64encode(png(mistake.picture)).decode("ascii")
    return (
        f'<figure><img src="data:image/png;base64,{picture}" alt="{words}">'
        f"<figcaption><b>{words}</b><br>{'<br>'.join(details)}</figcaption></figure>"
    )


def png(picture: np.ndarray) -> bytes:
    """Return a picture, uint8 [height, width] or [height, width, 3], as a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
