"""What a person reaches through ``import throughtime as tt``."""

from __future__ import annotations

import subprocess
import sys

import throughtime as tt


def test_every_public_name_is_reached_from_the_package_alone():
    code = (
        "import sys; sys.path.insert(0, 'src'); import throughtime as tt; "
        "print(all(getattr(tt, name) is not None for name in dir(tt)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.stdout.strip() == "True", said.stderr


def test_the_rooms_of_the_design_are_public():
    named = "Activation activation activations cells choose fleet gradients nn study tasks testing"
    assert set(named.split()) <= set(dir(tt))
    assert tt.testing.check_activation and tt.gradients.trace and tt.gradients.Monitor
