from __future__ import annotations

import subprocess
import sys

import pytest


def throughtime(*arguments: str, columns: int = 100) -> subprocess.CompletedProcess:
    code = "import sys; sys.path.insert(0, 'src'); from throughtime.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={"COLUMNS": str(columns), "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "utf-8"},
    )


@pytest.mark.parametrize(("lang", "words"), [("en", "activations"), ("zh", "种激活函数")])
def test_the_catalogue_is_listed_in_both_languages(lang, words):
    said = throughtime("activations", "--lang", lang)
    assert said.returncode == 0 and words in said.stdout and "penalized_tanh" in said.stdout


def test_one_activation_is_shown_with_its_slope():
    said = throughtime("activations", "tanh", "--lang", "en")
    assert "1 - tanh(x)**2" in said.stdout and "Elman" in said.stdout


@pytest.mark.parametrize(
    ("lang", "words"), [("en", "The nearest: relu"), ("zh", "最接近的有：relu")]
)
def test_an_unknown_name_ends_with_code_2_and_no_traceback(lang, words):
    said = throughtime("activations", "rleu", "--lang", lang, columns=300)
    assert said.returncode == 2
    assert words in said.stderr and "Traceback" not in said.stderr + said.stdout


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys; sys.path.insert(0, 'src'); import throughtime; "
        "print([m for m in ('torch', 'sympy', 'numba', 'scipy', 'pydantic') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.stdout.strip() == "[]"


def test_a_formula_of_ones_own_is_drawn(tmp_path):
    file = tmp_path / "mine.svg"
    said = throughtime(
        "activations", "mine = x*tanh(k*x); k~2", "--plot", str(file), "--lang", "en", columns=300
    )
    assert said.returncode == 0 and str(file) in said.stdout
    assert file.read_text("utf-8").startswith("<svg")
    assert throughtime("activations", "--plot", str(file)).returncode == 2


def test_a_terminal_that_has_no_greek_letters_is_no_error():
    code = "import sys; sys.path.insert(0, 'src'); from throughtime.cli import main; main()"
    said = subprocess.run(
        [sys.executable, "-c", code, "activations", "elu", "--lang", "en"],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii"},
    )
    assert said.returncode == 0 and "alpha*expm1(x)" in said.stdout, said.stderr
