"""The report of a run: one HTML file that needs nothing beside itself."""

from .facts import Facts, Interval
from .page import render

__all__ = ["Facts", "Interval", "render"]
