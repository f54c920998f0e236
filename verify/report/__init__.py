"""A proof as one HTML file that a person can read, print and keep: no network, no script."""

from .write import check_report, write_report

__all__ = ["check_report", "write_report"]
