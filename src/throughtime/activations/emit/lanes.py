"""A small language for machine code on whole vectors, built with Numba's compiler library LLVM.

Written like arithmetic: ``a * b + c`` on :class:`Lanes` appends vector instructions to the function
being built. There is no hidden vectorisation to hope for, no branch, and nothing to warm up: a
function of an activation compiles in milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from llvmlite import ir

I64 = ir.IntType(64)
Word = Any
"""A value of the compiler library, which declares no types."""


@dataclass(frozen=True)
class Real:
    """A floating-point format."""

    name: str
    bytes: int
    mantissa: int
    bias: int
    ln2: tuple[float, float]
    terms: dict[str, int]

    @property
    def type(self) -> ir.Type:
        """As LLVM names it."""
        return ir.FloatType() if self.bytes == 4 else ir.DoubleType()

    @property
    def integer(self) -> ir.IntType:
        """The whole number with as many bits."""
        return ir.IntType(8 * self.bytes)


# ln2 is split in two, the first part short enough that its products with an exponent are exact;
# terms are those of the series in maths.py
FLOAT32 = Real(
    "float32", 4, 23, 127, (0.693145751953125, 1.428606765330187e-06),
    {"exp": 7, "log": 5, "log1p": 8, "sin": 5, "atan": 9, "erf": 10},
)  # fmt: skip
FLOAT64 = Real(
    "float64", 8, 52, 1023, (0.6931471803691238, 1.9082149292705877e-10),
    {"exp": 13, "log": 11, "log1p": 17, "sin": 9, "atan": 21, "erf": 21},
)  # fmt: skip
REALS = {"float32": FLOAT32, "float64": FLOAT64}


class Lanes:
    """A vector of numbers in the function being built; a number on either side is broadcast."""

    __slots__ = ("code", "real", "value")

    def __init__(self, code: Code, value: Word, real: Real):
        self.code, self.value, self.real = code, value, real

    def with_value(self, value: Word) -> Lanes:
        """Lanes of the same format."""
        return Lanes(self.code, value, self.real)

    def like(self, other: Lanes | float) -> Lanes:
        """``other`` as lanes of this format."""
        if isinstance(other, Lanes):
            return other
        return self.with_value(self.code.constant(self.real.type, float(other)))

    def _apply(self, operation: str, a: Lanes | float, b: Lanes | float) -> Lanes:
        build = getattr(self.code.builder, operation)
        return self.with_value(build(self.like(a).value, self.like(b).value, flags=("contract",)))

    def __add__(self, other):
        return self._apply("fadd", self, other)

    def __radd__(self, other):
        return self._apply("fadd", other, self)

    def __sub__(self, other):
        return self._apply("fsub", self, other)

    def __rsub__(self, other):
        return self._apply("fsub", other, self)

    def __mul__(self, other):
        return self._apply("fmul", self, other)

    def __rmul__(self, other):
        return self._apply("fmul", other, self)

    def __truediv__(self, other):
        return self._apply("fdiv", self, other)

    def __rtruediv__(self, other):
        return self._apply("fdiv", other, self)

    def __neg__(self):
        return self.with_value(self.code.builder.fneg(self.value))

    def compare(self, sign: str, other: Lanes | float) -> Mask:
        """Lanes where the comparison holds; never where there is a NaN, except for ``!=``."""
        compare = (
            self.code.builder.fcmp_unordered if sign == "!=" else self.code.builder.fcmp_ordered
        )
        return Mask(self.code, compare(sign, self.value, self.like(other).value), self.real)

    def __lt__(self, other):
        return self.compare("<", other)

    def __le__(self, other):
        return self.compare("<=", other)

    def __gt__(self, other):
        return self.compare(">", other)

    def __ge__(self, other):
        return self.compare(">=", other)

    def fma(self, factor: Lanes | float, addend: Lanes | float) -> Lanes:
        """``self * factor + addend``, rounded once where the machine can."""
        arguments = [self.value, self.like(factor).value, self.like(addend).value]
        return self.with_value(self.code.intrinsic("llvm.fmuladd", arguments))

    def sqrt(self) -> Lanes:
        """The square root; NaN below zero."""
        return self.with_value(self.code.intrinsic("llvm.sqrt", [self.value]))

    def abs(self) -> Lanes:
        """The magnitude."""
        return self.with_value(self.code.intrinsic("llvm.fabs", [self.value]))

    def signed(self, sign: Lanes) -> Lanes:
        """The magnitude with the sign of ``sign``."""
        return self.with_value(self.code.intrinsic("llvm.copysign", [self.value, sign.value]))

    def at_least(self, low: float) -> Lanes:
        """Clipped from below; a NaN stays."""
        return (self < low).where(self.like(low), self)

    def at_most(self, high: float) -> Lanes:
        """Clipped from above; a NaN stays."""
        return (self > high).where(self.like(high), self)

    def bits(self) -> Word:
        """The same bits read as whole numbers."""
        type = ir.VectorType(self.real.integer, self.code.width)
        return self.code.builder.bitcast(self.value, type)

    def of_bits(self, bits: Word) -> Lanes:
        """Lanes of this format with these bits."""
        return self.with_value(self.code.builder.bitcast(bits, self.code.vector(self.real.type)))

    def whole(self, number: int) -> ir.Constant:
        """A whole number in every lane, as wide as this format."""
        return self.code.constant(self.real.integer, number)

    def to(self, real: Real) -> Lanes:
        """Converted to another format."""
        if real == self.real:
            return self
        widen = real.bytes > self.real.bytes
        convert = self.code.builder.fpext if widen else self.code.builder.fptrunc
        return Lanes(self.code, convert(self.value, self.code.vector(real.type)), real)


class Mask:
    """Yes or no in each lane, of numbers of a format."""

    __slots__ = ("code", "real", "value")

    def __init__(self, code: Code, value: Word, real: Real):
        self.code, self.value, self.real = code, value, real

    def _with(self, value: Word) -> Mask:
        return Mask(self.code, value, self.real)

    def number(self, number: float) -> Lanes:
        """One number in every lane."""
        return Lanes(self.code, self.code.constant(self.real.type, number), self.real)

    def __and__(self, other: Mask) -> Mask:
        return self._with(self.code.builder.and_(self.value, other.value))

    def __or__(self, other: Mask) -> Mask:
        return self._with(self.code.builder.or_(self.value, other.value))

    def __invert__(self) -> Mask:
        return self._with(self.code.builder.not_(self.value))

    def where(self, yes: Lanes, no: Lanes | float) -> Lanes:
        """``yes`` in the lanes of this mask, ``no`` in the others."""
        no = yes.like(no)
        return Lanes(yes.code, self.code.builder.select(self.value, yes.value, no.value), yes.real)


class Int:
    """A 64-bit whole number in the function being built."""

    __slots__ = ("code", "value")

    def __init__(self, code: Code, value: Word):
        self.code, self.value = code, value

    def with_value(self, value: Word) -> Int:
        """Another whole number."""
        return Int(self.code, value)

    def _apply(self, operation: str, other: Int | int) -> Int:
        other = self.code.int(other)
        return Int(self.code, getattr(self.code.builder, operation)(self.value, other.value))

    def __add__(self, other):
        return self._apply("add", other)

    def __sub__(self, other):
        return self._apply("sub", other)

    def __mul__(self, other):
        return self._apply("mul", other)

    def __floordiv__(self, other):
        return self._apply("udiv", other)

    def is_(self, sign: str, other: Int | int) -> Word:
        """A comparison, as a condition for :meth:`Code.when`."""
        return self.code.builder.icmp_signed(sign, self.value, self.code.int(other).value)

    def at_most(self, other: Int | int) -> Int:
        """The smaller one."""
        other = self.code.int(other)
        chosen = self.code.builder.select(self.is_("<", other), self.value, other.value)
        return Int(self.code, chosen)


class Address:
    """A place in memory, counted in elements of its type."""

    __slots__ = ("code", "real", "value")

    def __init__(self, code: Code, value: Word, real: Real | None):
        self.code, self.value, self.real = code, value, real

    def with_value(self, value: Word) -> Address:
        """Another place, of the same type."""
        return Address(self.code, value, self.real)

    @property
    def _align(self) -> int:
        return 8 if self.real is None else self.real.bytes

    def __add__(self, elements: Int | int) -> Address:
        moved = self.code.builder.gep(self.value, [self.code.int(elements).value])
        return Address(self.code, moved, self.real)

    def _vector(self) -> Word:
        assert self.real is not None
        type = self.code.vector(self.real.type).as_pointer()
        return self.code.builder.bitcast(self.value, type)

    def lanes(self) -> Lanes:
        """A vector read from here on."""
        assert self.real is not None
        value = self.code.builder.load(self._vector(), align=self._align)
        return Lanes(self.code, value, self.real)

    def put(self, lanes: Lanes) -> None:
        """A vector written from here on."""
        self.code.builder.store(lanes.value, self._vector(), align=self._align)

    def some(self, mask: Mask) -> Lanes:
        """A vector of which only the lanes of the mask are read; the others are 0."""
        assert self.real is not None
        zero = self.code.constant(self.real.type, 0.0)
        value = self.code.masked("load", [self._vector(), mask.value, zero], self._align)
        return Lanes(self.code, value, self.real)

    def put_some(self, lanes: Lanes, mask: Mask) -> None:
        """A vector of which only the lanes of the mask are written."""
        self.code.masked("store", [lanes.value, self._vector(), mask.value], self._align)

    def splat(self) -> Lanes:
        """The number here, in every lane."""
        assert self.real is not None
        return Lanes(self.code, self.code.broadcast(self.scalar()), self.real)

    def scalar(self) -> Word:
        """The number here."""
        return self.code.builder.load(self.value, align=self._align)

    def put_scalar(self, value: Word) -> None:
        """One number written here."""
        self.code.builder.store(value, self.value, align=self._align)

    def int(self) -> Int:
        """The whole number here."""
        return Int(self.code, self.scalar())

    def is_null(self) -> Word:
        """Whether this points nowhere: a condition for :meth:`Code.when`."""
        as_int = self.code.builder.ptrtoint(self.value, I64)
        return self.code.builder.icmp_signed("==", as_int, ir.Constant(I64, 0))


Changing = TypeVar("Changing", Lanes, Int, Address)


class Code:
    """One function being built."""

    def __init__(self, function: ir.Function, width: int):
        self.function, self.width = function, width
        self._entry: Any = ir.IRBuilder(function.append_basic_block("entry"))
        self.builder: Any = ir.IRBuilder(function.append_basic_block("body"))

    def finish(self) -> None:
        """Close the function; it returns nothing."""
        self.builder.ret_void()
        self._entry.branch(self.function.basic_blocks[1])

    def vector(self, type: ir.Type) -> ir.VectorType:
        """The vector type of ``width`` such elements."""
        return ir.VectorType(type, self.width)

    def constant(self, type: ir.Type, number: float) -> ir.Constant:
        """The same number in every lane."""
        return ir.Constant(self.vector(type), [ir.Constant(type, number)] * self.width)

    def broadcast(self, scalar: Word) -> Word:
        """One value in every lane."""
        empty = ir.Constant(self.vector(scalar.type), ir.Undefined)
        first = self.builder.insert_element(empty, scalar, ir.Constant(ir.IntType(32), 0))
        nowhere = ir.Constant(self.vector(ir.IntType(32)), [0] * self.width)
        return self.builder.shuffle_vector(first, empty, nowhere)

    def intrinsic(self, name: str, arguments: Sequence[Word], returns: ir.Type | None = None):
        """A call of one of LLVM's own functions on vectors."""
        type = arguments[-1].type
        kind = "f32" if isinstance(type.element, ir.FloatType) else "f64"
        full = f"{name}.v{self.width}{kind}"
        known = self.function.module.globals.get(full)
        if known is None:
            types = ir.FunctionType(returns or type, [a.type for a in arguments])
            known = ir.Function(self.function.module, types, full)
        return self.builder.call(known, arguments)

    def masked(self, kind: str, arguments: list[Word], align: int) -> Word:
        """LLVM's load or store of some lanes."""
        number, place = (arguments[2], 0) if kind == "load" else (arguments[0], 1)
        real = "f32" if isinstance(number.type.element, ir.FloatType) else "f64"
        name = f"llvm.masked.{kind}.v{self.width}{real}.p0"
        arguments = [
            *arguments[: place + 1],
            ir.Constant(ir.IntType(32), align),
            *arguments[place + 1 :],
        ]
        known = self.function.module.globals.get(name)
        if known is None:
            returns = number.type if kind == "load" else ir.VoidType()
            types = ir.FunctionType(returns, [a.type for a in arguments])
            known = ir.Function(self.function.module, types, name)
        return self.builder.call(known, arguments)

    def first(self, count: Int, real: Real) -> Mask:
        """The first ``count`` lanes."""
        type = ir.VectorType(I64, self.width)
        places = ir.Constant(type, [ir.Constant(I64, i) for i in range(self.width)])
        return Mask(self, self.builder.icmp_signed("<", places, self.broadcast(count.value)), real)

    def int(self, value: Int | int) -> Int:
        """A whole number as :class:`Int`."""
        return value if isinstance(value, Int) else Int(self, ir.Constant(I64, value))

    def variable(self, initial: Changing) -> Variable[Changing]:
        """A place whose value changes: registers, once compiled."""
        return Variable(self, self._entry.alloca(initial.value.type), initial)

    def room(self, count: Int | int, real: Real | None) -> Address:
        """Memory that is this call's own, for so many numbers, or whole numbers."""
        place = self.builder.alloca(I64 if real is None else real.type, self.int(count).value)
        place.align = 64
        return Address(self, place, real)

    @contextmanager
    def repeat(self, stop: Int | int, start: Int | int = 0, step: int = 1) -> Iterator[Int]:
        """A loop; the counter runs from ``start`` to below ``stop``."""
        counter = self.variable(self.int(start))
        head, body, after = (self.function.append_basic_block(n) for n in ("head", "loop", "next"))
        self.builder.branch(head)
        self.builder.position_at_end(head)
        i = counter.get()
        self.builder.cbranch(i.is_("<", stop), body, after)
        self.builder.position_at_end(body)
        yield i
        counter.set(i + step)
        self.builder.branch(head)
        self.builder.position_at_end(after)

    @contextmanager
    def repeat_while(self, condition) -> Iterator[None]:
        """A loop as long as ``condition()``, built anew before each pass, holds."""
        head, body, after = (self.function.append_basic_block(n) for n in ("head", "loop", "next"))
        self.builder.branch(head)
        self.builder.position_at_end(head)
        self.builder.cbranch(condition(), body, after)
        self.builder.position_at_end(body)
        yield
        self.builder.branch(head)
        self.builder.position_at_end(after)

    @contextmanager
    def when(self, condition: Word) -> Iterator[None]:
        """Code that runs only if the condition holds."""
        with self.builder.if_then(condition):
            yield

    @contextmanager
    def unless(self, condition: Word) -> Iterator[None]:
        """Code that runs only if the condition does not hold."""
        with self.builder.if_then(self.builder.not_(condition)):
            yield


class Variable(Generic[Changing]):
    """A value that changes in loops."""

    def __init__(self, code: Code, place: Word, initial: Changing):
        self._code, self._place, self._like = code, place, initial
        self.set(initial)

    def get(self) -> Changing:
        """Its value now."""
        return self._like.with_value(self._code.builder.load(self._place))

    def set(self, value: Changing) -> None:
        """Another value from here on."""
        self._code.builder.store(value.value, self._place)


def horner(x: Lanes, coefficients: Sequence[float]) -> Lanes:
    """A polynomial, its coefficients from the highest power down."""
    result = x.like(coefficients[0])
    for c in coefficients[1:]:
        result = result.fma(x, c)
    return result


def factorials(start: int, stop: int, step: int = 1) -> list[float]:
    """1/k! from high to low k."""
    return [1 / math.factorial(k) for k in reversed(range(start, stop, step))]
