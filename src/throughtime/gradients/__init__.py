"""Gradients through time: what flowed (record), its numbers (measure), its findings (advise)."""

from throughtime.gradients.tracing import Trace, trace

__all__ = ["Trace", "trace"]
