"""The report of a run: one HTML file that needs nothing beside itself."""

from continuous_training.report.page import render
from continuous_training.report.report_data import Facts, Interval

__all__ = ["Facts", "Interval", "render"]
