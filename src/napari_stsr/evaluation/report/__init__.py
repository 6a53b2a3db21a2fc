"""The report: one HTML file that holds everything and needs no network."""

from napari_stsr.evaluation.report.page import report_html, write_report

__all__ = ["report_html", "write_report"]
