"""Findings: what is wrong, judged against a reference, and what to change."""

from throughtime.gradients.advise.finding import CAUSES, Finding, folded
from throughtime.gradients.advise.rules import Training, advise

__all__ = ["CAUSES", "Finding", "Training", "advise", "folded"]
