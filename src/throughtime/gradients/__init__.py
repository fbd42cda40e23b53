"""Gradients through time: what flowed (record), its numbers (measure), its findings (advise).

``trace`` looks at one backward pass; ``Monitor`` follows a training run. The measures stand in
:mod:`throughtime.gradients.measure`, callbacks for training frameworks in
:mod:`throughtime.gradients.adapters`.
"""

from throughtime.gradients import loggers, measure
from throughtime.gradients.advise import Finding, advise
from throughtime.gradients.monitor import Monitor
from throughtime.gradients.record.record import Record
from throughtime.gradients.tracing import Trace, trace

__all__ = ["Finding", "Monitor", "Record", "Trace", "advise", "loggers", "measure", "trace"]
