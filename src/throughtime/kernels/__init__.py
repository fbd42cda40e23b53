"""The recurrences at speed; what no kernel can do goes to the page-long truth of ``cells``."""

from throughtime.cells import elman, gru, lstm

__all__ = ["elman", "gru", "lstm"]
