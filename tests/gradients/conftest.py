"""The truth the records are held against: a loop over single sequences and steps, and autograd."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import linear


def step(kind, w, x, h, c, phi, gate, out, leak):
    """One step of one sequence; returns h, c, pre-activation."""
    u = linear(x, w["ih"], w.get("bih"))
    v = linear(h, w["hh"], w.get("bhh"))
    if kind == "elman":
        a = u + v
        a.retain_grad()
        return (1 - leak) * h + leak * phi(a), c, a
    if kind == "gru":
        u_r, u_z, u_n = u.chunk(3)
        v_r, v_z, v_n = v.chunk(3)
        a_r, a_z = u_r + v_r, u_z + v_z
        a_r.retain_grad(), a_z.retain_grad()
        a_n = u_n + gate(a_r) * v_n
        a_n.retain_grad()
        z = gate(a_z)
        return (1 - z) * phi(a_n) + z * h, c, (a_r, a_z, a_n)
    a = u + v
    a.retain_grad()
    i, f, g, o = a.chunk(4)
    c = gate(f) * c + gate(i) * phi(g)
    c.retain_grad()
    h = gate(o) * out(c)
    return (h if w.get("hr") is None else linear(h, w["hr"])), c, a


def unrolled(
    module,
    kind,
    x,
    lengths,
    loss,
    phi=torch.tanh,
    gate=torch.sigmoid,
    out=None,
    leak=1.0,
    h0=None,
    c0=None,
):
    """Every h, a and c of every sequence as a tensor of its own, (T, B, ·) after the fact."""
    out = out or phi
    T, B, _ = x.shape
    D = 2 if module.bidirectional else 1
    P = module.proj_size or module.hidden_size
    found = {}
    layer_in = [[x[t, b] for t in range(lengths[b])] for b in range(B)]
    h_n, c_n = [], []
    for layer in range(module.num_layers):
        outs = [[[None] * D for _ in range(lengths[b])] for b in range(B)]
        for d in range(D):
            suffix = f"l{layer}" + ("_reverse" if d else "")
            w = {
                short: getattr(module, f"{name}_{suffix}", None)
                for short, name in (("ih", "weight_ih"), ("hh", "weight_hh"), ("bih", "bias_ih"),
                                    ("bhh", "bias_hh"), ("hr", "weight_hr"))
            }  # fmt: skip
            found[suffix] = steps = {}
            ends_h, ends_c = [], []
            for b in range(B):
                row = layer * D + d
                h = x.new_zeros(P) if h0 is None else h0[row, b]
                c = x.new_zeros(module.hidden_size) if c0 is None else c0[row, b]
                order, seen = range(lengths[b]), h
                for t in reversed(order) if d else order:
                    h, c, a = step(kind, w, layer_in[b][t], h, c, phi, gate, out, leak)
                    seen = h.clone()  # what the outside sees; the recurrence goes on with h
                    h.retain_grad(), seen.retain_grad()
                    steps[t, b] = h, c, a, seen
                    outs[b][t][d] = seen
                ends_h.append(seen)
                ends_c.append(c)
            h_n.append(torch.stack(ends_h))
            c_n.append(torch.stack(ends_c))
        layer_in = [[torch.cat(outs[b][t]) for t in range(lengths[b])] for b in range(B)]
    zero = x.new_zeros(D * P)
    y = torch.stack(
        [
            torch.stack([layer_in[b][t] if t < lengths[b] else zero for b in range(B)])
            for t in range(T)
        ]
    )
    loss(y, torch.stack(h_n), torch.stack(c_n if kind == "lstm" else h_n)).backward()
    return {suffix: _gathered(steps, T, B) for suffix, steps in found.items()}


def _gathered(steps, T, B):
    def grid(read):
        like = read(next(iter(steps.values())))
        zero = torch.zeros_like(like)
        return torch.stack(
            [
                torch.stack([read(steps[t, b]) if (t, b) in steps else zero for b in range(B)])
                for t in range(T)
            ]
        ).detach()

    def grad(tensor):
        return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad

    def joined(a, read):
        return torch.cat([read(p) for p in a]) if isinstance(a, tuple) else read(a)

    return SimpleNamespace(
        state=grid(lambda s: s[0].detach()),
        total=grid(lambda s: grad(s[0])),
        injected=grid(lambda s: grad(s[3])),
        cell=grid(lambda s: s[1].detach()),
        cell_total=grid(lambda s: grad(s[1]) if s[1].requires_grad else s[1]),
        preactivation=grid(lambda s: joined(s[2], lambda p: p.detach())),
        delta=grid(lambda s: joined(s[2], grad)),
    )


@pytest.fixture(scope="session")
def truth():
    return unrolled
