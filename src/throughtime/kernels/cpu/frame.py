"""The one argument of the time loops: whole numbers and addresses, in a fixed order."""

from __future__ import annotations

from llvmlite import ir

from throughtime.activations.emit.lanes import Address, Code, Int, Real, Word

# sizes; then arrays, each followed by its strides in elements where it may have any.
# 0 is the address of what is absent.
FIELDS = (
    "next_worker", "workers", "arrived", "team_size", "give_way",
    "tiles", "rows", "T", "B", "I", "H", "vectors", "pitch", "x_vectors", "x_pitch",
    "reverse", "pointwise",
    "order", "lengths",
    "x", "x_t", "x_b", "h0", "c0", "w_ih", "w_hh", "b_ih", "b_hh", "theta",
    "packed_ih", "packed_hh", "bias", "saved", "scratch", "scratch_stride",
    "y", "h_n", "c_n",
    "capacity", "dy", "dy_t", "dy_b", "dh_n", "dc_n",
    "dx", "dh0", "dc0", "dw_ih", "dw_hh", "db", "dtheta", "theta_rows",
    "delta", "total", "carried", "told",
)  # fmt: skip
PLACE = {name: i for i, name in enumerate(FIELDS)}


class Frame:
    """The fields, read in the function being built."""

    def __init__(self, code: Code, start: Address, real: Real):
        self._code, self._start, self._real = code, start, real

    def __getitem__(self, name: str) -> Int:
        """A whole number."""
        return (self._start + PLACE[name]).int()

    def numbers(self, name: str) -> Address:
        """An array of numbers."""
        return self._array(name, self._real)

    def integers(self, name: str) -> Address:
        """An array of whole numbers."""
        return self._array(name, None)

    def absent(self, name: str) -> Word:
        """Whether an array is not there."""
        return self[name].is_("==", 0)

    def take_worker(self) -> Int:
        """The next number of a worker that nobody has taken."""
        return self.count("next_worker")

    def count(self, name: str) -> Int:
        """A number that grows by one; its value before. What was written before is then seen."""
        at, one = (self._start + PLACE[name]).value, ir.Constant(ir.IntType(64), 1)
        return Int(self._code, self._code.builder.atomic_rmw("add", at, one, "acq_rel"))

    def now(self, name: str) -> Int:
        """A number that other threads change."""
        at = (self._start + PLACE[name]).value
        return Int(self._code, self._code.builder.load_atomic(at, "acquire", 8))

    def function(self, name: str, returns: ir.Type) -> Word:
        """A function without arguments."""
        kind = ir.FunctionType(returns, []).as_pointer()
        return self._code.builder.inttoptr(self[name].value, kind)

    def _array(self, name: str, real: Real | None) -> Address:
        type = ir.IntType(64) if real is None else real.type
        place = self._code.builder.inttoptr(self[name].value, type.as_pointer())
        return Address(self._code, place, real)
