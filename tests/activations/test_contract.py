"""The public contract test finds what is wrong, and says where."""

from __future__ import annotations

import math
import re

import pytest
import torch

import throughtime as tt
from throughtime.language import LANGUAGES, use_language
from throughtime.testing import check_activation


@pytest.mark.parametrize(
    "formula",
    [
        "x*sigmoid(x)",
        "x^3",
        "exp(x)",
        "where(x > 0, 1, 0)",
        "3",
        "sech(x)",
        "exp(-exp(-x))",
        "abs(x)^1.5",
        "max(x, 0)^2.5",
        "min(exp(x), 1)",
        "1e4*tanh(x)",
    ],
)
def test_a_sound_formula_passes(formula):
    check_activation(tt.Activation("mine", formula))


BROKEN = [
    ("((1 + exp(x))^2 - 1)/((1 + exp(x))^2 + 1)", "in float32 the value at x = 45 is nan"),
    ("exp(x)/(exp(x) + x^2 + 1)", "in float32 the slope at x = 80 is nan"),
    ("where(x > 0, exp(-1/x), 0)", "in float32 the slope at x = 1e-30 is nan"),
    ("sqrt(x^2 + 4) + x", "in float32 the value at x = -10000 is 0, in float64 0.000199999999"),
    ("cosh(x)/(1 + cosh(x))", "in float32 the value at x = -10000 is nan"),
]


@pytest.mark.parametrize(("formula", "message"), BROKEN)
def test_a_formula_that_breaks_is_found_out(formula, message):
    with pytest.raises(AssertionError, match=re.escape(message)):
        check_activation(tt.Activation("mine", formula))


def test_a_parameter_without_effect_is_found_out():
    with pytest.raises(AssertionError, match="the parameter k has no effect"):
        check_activation(tt.Activation("mine", "tanh(x) + 0*k", k=1.0))


class Wrong(tt.Activation):
    """An activation with one fault put in."""

    def __init__(self, **faults):
        super().__init__("wrong", "tanh(k*x)", k=1.0)
        self.__dict__ |= faults

    def with_parameters(self, **values):
        return tt.Activation("wrong", "tanh(k*x)", k=1.0).with_parameters(**values)


RIGHT = tt.Activation("right", "tanh(k*x)", k=1.0)


def on_tensors(right, wrong):
    return lambda a, theta: wrong(a, *theta) if torch.is_tensor(a) else right(a, theta)


FAULTS = {
    "derivative gives": {"_slope": on_tensors(RIGHT._slope, lambda a, k: k - torch.tanh(a) ** 2)},
    "NumPy gives": {
        "_value": lambda a, theta: RIGHT._value(a, theta) * (1 if torch.is_tensor(a) else 1.001)
    },
    "NaN becomes 0": {
        "_value": on_tensors(RIGHT._value, lambda a, k: torch.tanh(k * a).nan_to_num())
    },
    "float64 comes out": {
        "_value": on_tensors(
            RIGHT._value,
            lambda a, k: torch.tanh(k * a).double() if a.numel() < 99 else torch.tanh(k * a),
        )
    },
    "outside the range (−0.5, 0.5)": {
        "facts": tt.Activation("half", "tanh(x)/2").facts,
    },
    "parameter_derivative('k') gives": {"_by_parameter": {"k": lambda a, theta: a * 0}},
    "a saved copy is another function": {"_key": ("another",)},
}


@pytest.mark.parametrize("message", FAULTS)
def test_every_fault_is_named(message):
    check_activation(RIGHT)
    with pytest.raises(AssertionError, match=re.escape(message)):
        check_activation(Wrong(**FAULTS[message]))


def test_the_message_is_there_in_both_languages():
    broken = tt.Activation("mine", BROKEN[0][0])
    said = set()
    for language in LANGUAGES:
        use_language(language)
        with pytest.raises(AssertionError) as found:
            check_activation(broken)
        said.add(str(found.value))
    assert len(said) == 2 and all("x = 45" in text for text in said)


def test_a_step_may_lose_nan_as_it_has_no_gradient():
    step = tt.Activation("step", "where(x > 0, 1, 0)")
    assert step(torch.tensor([math.nan])).item() == 0
    check_activation(step)
