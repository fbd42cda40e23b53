"""Numbers of a record: each measure a function of it, with formula and source."""

from throughtime.gradients.measure.budget import Budget, budget
from throughtime.gradients.measure.census import Census, census
from throughtime.gradients.measure.counterfactual import counterfactual
from throughtime.gradients.measure.gates import Gates, gates
from throughtime.gradients.measure.health import Health, health
from throughtime.gradients.measure.lag import LagMap, lag_map
from throughtime.gradients.measure.lyapunov import Spectrum, kaplan_yorke, lyapunov, lyapunov_of
from throughtime.gradients.measure.onestep import OneStep, one_step
from throughtime.gradients.measure.signal import Signal, signal
from throughtime.gradients.measure.split import Split, split
from throughtime.gradients.measure.transport import Estimate, Transport, transport
from throughtime.gradients.measure.update import (
    Clipping,
    Underflow,
    clipping,
    signal_to_noise,
    truncation,
    underflow,
    update_ratio,
)
from throughtime.gradients.measure.usage import Usage, usage

__all__ = [
    "Budget",
    "Census",
    "Clipping",
    "Estimate",
    "Gates",
    "Health",
    "LagMap",
    "OneStep",
    "Signal",
    "Spectrum",
    "Split",
    "Transport",
    "Underflow",
    "Usage",
    "budget",
    "census",
    "clipping",
    "counterfactual",
    "gates",
    "health",
    "kaplan_yorke",
    "lag_map",
    "lyapunov",
    "lyapunov_of",
    "one_step",
    "signal",
    "signal_to_noise",
    "split",
    "transport",
    "truncation",
    "underflow",
    "update_ratio",
    "usage",
]
