"""Where sequences come from: a person's files and frames, built-in sets, synthetic problems.

``load`` reads, ``Task.split`` divides without leaking, ``Task.prepare`` scales by what the
training part alone says.
"""

from throughtime.tasks.builtin import names
from throughtime.tasks.load import SUFFIXES, load
from throughtime.tasks.new import New, format_predictions, read_new
from throughtime.tasks.preprocessing import PROBLEMS, SCALINGS, Preprocessing, Problem, Scaling
from throughtime.tasks.task import Block, Metric, Prepared, Split, Task

__all__ = [
    "PROBLEMS",
    "SCALINGS",
    "SUFFIXES",
    "Block",
    "Metric",
    "New",
    "Prepared",
    "Preprocessing",
    "Problem",
    "Scaling",
    "Split",
    "Task",
    "format_predictions",
    "load",
    "names",
    "read_new",
]
