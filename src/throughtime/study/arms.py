"""Arms as a person writes them: a name of the catalogue, or a formula of their own."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from throughtime.errors import PlanError

if TYPE_CHECKING:
    from throughtime.activations import Activation

_UNIT = "/unit"


def name_of(arm: str) -> str:
    """How an arm is called in tables: ``elu``, ``leaky_relu(slope=0.2)``, ``mine``."""
    head, *settings = (part.strip() for part in arm.split(";"))
    name, equals, _ = head.partition("=")
    shown = ", ".join(s.replace(" ", "") for s in settings)
    return name.strip() if equals or not settings else f"{name.strip()}({shown})"


@cache
def activation_of(arm: str) -> Activation:
    """The activation of an arm.

    Written ``elu``; ``leaky_relu; slope=0.2``; ``mine = x*sigmoid(beta*x); beta=1`` or, where
    training is to adjust beta, ``beta~1`` (one value a layer) or ``beta~1/unit`` (one a unit).

    Raises:
        PlanError: a setting is not of the form ``parameter=number``.
        ActivationError: no such name, or the formula does not parse.

    Example:
        >>> activation_of("mine = x*sigmoid(beta*x); beta~1").learnable
        ('beta',)
    """
    from throughtime.activations import Activation, activation

    head, *settings = (part.strip() for part in arm.split(";"))
    values: dict[str, Any] = {}
    learnable: dict[str, Literal["shared", "unit"]] = {}
    for setting in settings:
        sign = "~" if "~" in setting else "="
        parameter, _, value = (part.strip() for part in setting.partition(sign))
        if sign == "~":
            learnable[parameter] = "unit" if value.endswith(_UNIT) else "shared"
            value = value.removesuffix(_UNIT)
        try:
            values[parameter] = float(value)
        except ValueError:
            raise PlanError("study.arm_setting", arm=arm, setting=setting) from None
    name, equals, formula = (part.strip() for part in head.partition("="))
    if equals:
        return Activation(name, formula, learnable=learnable, **values)
    if learnable:
        raise PlanError("study.arm_learnable", arm=arm, name=name)
    return activation(name, **values)


def written(phi: Activation) -> str:
    """The arm that stands for an activation, so that a plan can be saved.

    Example:
        >>> from throughtime import activation
        >>> written(activation("elu", alpha=0.5))
        'elu = where(x > 0, x, alpha*expm1(x)); alpha=0.5'
    """
    settings = [
        f"{p.name}~{p.default!r}{_UNIT if p.learnable == 'unit' else ''}"
        if p.learnable
        else f"{p.name}={p.default!r}"
        for p in phi.parameters.values()
    ]
    return "; ".join([f"{phi.name} = {phi.formula}", *settings])
