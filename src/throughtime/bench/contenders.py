"""Who runs a training step: our layer, PyTorch's, loops, and others where they are installed."""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from throughtime.bench.problem import Answers, Problem


class Contender(Protocol):
    """Something that is timed, and answers for what it computed."""

    def step(self) -> object:
        """Run once."""
        ...

    def answers(self) -> Answers:
        """What one run computes: outputs ``y`` and, where it trains, gradients by weight."""
        ...


class Training:
    """A training step of a module."""

    def __init__(self, problem: Problem, module: torch.nn.Module):
        self._problem, self._module = problem, module
        self._weights = dict(module.named_parameters())

    def _outputs(self) -> Tensor:
        return self._module(self._problem.x)[0]

    def step(self) -> Tensor:
        """Outputs, with gradients left at the weights."""
        for w in self._weights.values():
            w.grad = None
        y = self._outputs()
        y.backward(self._problem.dy)
        return y

    def step_and_forget(self) -> None:
        """The same, with nothing left behind."""
        self.step()
        self._module.zero_grad()

    def answers(self) -> Answers:
        """What one run computes."""
        y = self.step()
        found = {n: w.grad for n, w in self._weights.items() if w.grad is not None}
        return {"y": y.detach()} | found


class Inference:
    """The outputs of a module alone."""

    def __init__(self, problem: Problem, module: torch.nn.Module):
        self._problem, self._module = problem, module.eval()

    def step(self) -> Tensor:
        """Run once."""
        with torch.inference_mode():
            return self._module(self._problem.x)[0]

    def answers(self) -> Answers:
        """What one run computes."""
        return {"y": self.step()}


class Stream:
    """A sequence that arrives a step at a time: a call of a cell for each."""

    def __init__(self, problem: Problem, cell: torch.nn.Module):
        self._cell, self._steps = cell, problem.x.unbind()
        zeros = problem.x.new_zeros(problem.shape.B, problem.shape.H)
        self._start: Any = (zeros, zeros) if problem.cell == "lstm" else zeros

    def step(self) -> list[Any]:
        """The states after each step."""
        states, state = [], self._start
        with torch.inference_mode():
            for x in self._steps:
                state = self._cell(x, state)
                states.append(state)
        return states

    def answers(self) -> Answers:
        """What one run computes."""
        return {"y": torch.stack([s[0] if isinstance(s, tuple) else s for s in self.step()])}


class Loop(torch.nn.Module):
    """The reference, a loop in Python over time, with the weights of our layer."""

    def __init__(self, problem: Problem):
        super().__init__()
        self._problem = problem
        for name, weight in problem.layer().named_parameters():
            self.register_parameter(name, weight)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Outputs, in a tuple as a layer gives them."""
        return (self._problem.reference(x, list(self.parameters())),)


class JaxScan:
    """Jitted ``jax.lax.scan`` of Elman's cell, the input projected before it in one product."""

    def __init__(self, problem: Problem):
        import jax
        import jax.numpy as jnp

        weights = problem.layer().named_parameters()
        self._weights = {n: jnp.asarray(w.detach().numpy()) for n, w in weights}
        self._x, self._dy = (jnp.asarray(t.numpy()) for t in (problem.x, problem.dy))

        def outputs(w, x):
            u = x @ w["weight_ih_l0"].T + (w["bias_ih_l0"] + w["bias_hh_l0"])
            right = w["weight_hh_l0"].T

            def advance(h, u_t):
                h = jnp.tanh(u_t + h @ right)
                return h, h

            return jax.lax.scan(advance, jnp.zeros(u.shape[1:]), u)[1]

        def step(w, x, dy):
            y, pull = jax.vjp(lambda w: outputs(w, x), w)
            return y, pull(dy)[0]

        self._step: Any = jax.jit(step)
        self._wait: Any = jax.block_until_ready

    def step(self) -> Any:
        """Run once."""
        return self._wait(self._step(self._weights, self._x, self._dy))

    def answers(self) -> Answers:
        """What one run computes."""
        y, found = self.step()
        return {n: torch.tensor(a.__array__()) for n, a in {"y": y, **found}.items()}


class OnnxRuntime:
    """The layer exported and run in ONNX Runtime: inference."""

    def __init__(self, problem: Problem):
        import onnxruntime

        from throughtime.nn import to_onnx

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "layer.onnx")
            to_onnx(problem.layer(), file, lengths=False, check=False)
            self._session = onnxruntime.InferenceSession(
                file.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        name, *_ = (i.name for i in self._session.get_inputs())
        self._inputs = {name: problem.x.numpy()}

    def step(self) -> Any:
        """Run once."""
        return self._session.run(None, self._inputs)

    def answers(self) -> Answers:
        """What one run computes."""
        return {"y": torch.from_numpy(self.step()[0])}


def installed(package: str) -> bool:
    """Whether a peer is there to be measured."""
    return find_spec(package) is not None


def can_compile() -> bool:
    """Whether ``torch.compile`` finds the compiler it needs."""
    return any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++")))


def limit_jax(threads: int) -> None:
    """Give JAX as many threads as everybody else; works before it is first used."""
    os.environ.setdefault("NPROC", str(threads))
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
