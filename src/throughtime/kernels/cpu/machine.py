"""Machine code: built with LLVM for the processor at hand, kept on disk, loaded into memory."""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
from llvmlite import ir

from throughtime.activations.emit.lanes import I64, REALS, Address, Code, Int, Real
from throughtime.files import whole

_lock = threading.Lock()
# one of each, for good: addresses in it are kept where it is not
_loaded: dict[str, Program] = {}


@dataclass(frozen=True)
class Host:
    """The processor at hand."""

    cpu: str
    features: str
    vector_bytes: int
    registers: int

    def width(self, real: Real) -> int:
        """Numbers in one vector register."""
        return self.vector_bytes // real.bytes


@cache
def host() -> Host:
    """What LLVM knows of this processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    wide = features.get("avx512f", False)
    vector_bytes = 64 if wide else 32 if features.get("avx", False) else 16
    many = wide or llvm.get_default_triple().startswith(("aarch64", "arm64"))
    return Host(llvm.get_host_cpu_name(), features.flatten(), vector_bytes, 32 if many else 16)


def _target() -> llvm.TargetMachine:
    """A new one each time: an engine takes its own into possession."""
    here = host()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=here.cpu, features=here.features, opt=3, codemodel="jitdefault", jit=True
    )


class Assembly:
    """A set of functions on one floating-point format, being written."""

    def __init__(self, real: Real):
        self.real, self.width = real, host().width(real)
        self.module = ir.Module()
        self.module.triple = llvm.get_default_triple()

    @contextmanager
    def function(self, name: str, arguments: str, public: bool = False) -> Iterator[tuple]:
        """A function without result: ``with assembly.function(...) as (code, *arguments)``.

        Args:
            name: how others call it.
            arguments: a letter each: ``a`` address of numbers, ``i`` whole number, ``f`` frame.
            public: whether it is called from outside.
        """
        types = {"a": self.real.type.as_pointer(), "i": I64, "f": I64.as_pointer()}
        kind = ir.FunctionType(ir.VoidType(), [types[k] for k in arguments])
        function = ir.Function(self.module, kind, name)
        if not public:
            function.linkage = "internal"
        code = Code(function, self.width)
        wrap: dict[str, Callable] = {
            "a": lambda v: Address(code, v, self.real),
            "i": lambda v: Int(code, v),
            "f": lambda v: Address(code, v, None),
        }
        yield code, *(wrap[k](v) for k, v in zip(arguments, function.args, strict=True))
        code.finish()

    def call(self, code: Code, name: str, *arguments: Address | Int | int) -> None:
        """Call a function of this assembly."""
        values = [code.int(a).value if isinstance(a, int) else a.value for a in arguments]
        code.builder.call(self.module.get_global(name), values)

    def compiled(self) -> bytes:
        """The machine code."""
        module = llvm.parse_assembly(str(self.module))
        module.verify()
        target = _target()
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
        builder = llvm.create_pass_builder(target, options)
        builder.getModulePassManager().run(module, builder)
        return target.emit_object(module)


class Program:
    """Machine code in memory."""

    def __init__(self, code: bytes):
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Where a function lies."""
        return self._engine.get_function_address(name)

    def function(self, name: str, arguments: int) -> Callable[..., None]:
        """A function of whole numbers and addresses; Python's lock is open while it runs.

        To ``ctypes`` all are addresses, which it converts in half the time.
        """
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)
        function: Any = kind(self.address(name))
        function.program = self  # the code lives as long as the function
        return function


def program(name: str, real: str, write: Callable[[Assembly], None]) -> Program:
    """The program that ``write`` writes, from disk if it was compiled on this machine before.

    Args:
        name: what makes it this program and no other, besides the sources of this package.
        real: ``"float32"`` or ``"float64"``.
        write: fills an empty :class:`Assembly`.
    """
    with _lock:
        key = hashlib.sha256(
            "\n".join((name, real, str(host()), llvmlite.__version__, _sources())).encode()
        ).hexdigest()
        if key in _loaded:
            return _loaded[key]
        folder = cache_folder()
        file = None if folder is None else folder / f"{key}.bin"
        code = None if file is None else _read(file)
        if code is None:
            assembly = Assembly(REALS[real])
            write(assembly)
            code = assembly.compiled()
            if file is not None:
                _save(file, code)
        return _loaded.setdefault(key, Program(code))


@cache
def _sources() -> str:
    """A digest of everything that writes machine code: another version, another program."""
    digest = hashlib.sha256()
    here = Path(__file__).resolve()
    for folder in (here.parent, here.parents[2] / "activations" / "emit"):
        for file in sorted(folder.glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def cache_folder() -> Path | None:
    """Where compiled code is kept: ``THROUGHTIME_CACHE_DIR``, else the user's cache folder.

    None where neither can be written; then it is compiled anew in each process.
    """
    given = os.environ.get("THROUGHTIME_CACHE_DIR")
    try:
        folder = Path(given) if given else _users_cache() / "throughtime"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK) else None


def _users_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _read(file: Path) -> bytes | None:
    try:
        content = file.read_bytes()
    except OSError:
        return None
    digest, code = content[:32], content[32:]
    return code if hashlib.sha256(code).digest() == digest else None


def _save(file: Path, code: bytes) -> None:
    """Written beside and moved into place, so that another process sees all of it or nothing."""
    try:
        with whole(file) as beside:
            beside.write_bytes(hashlib.sha256(code).digest() + code)
    except OSError:
        return
