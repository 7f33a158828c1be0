"""Plain values out of an .npy file that holds a pickle, without running anything that the file names.

A pickle is a small program: opened the usual way it imports and calls what it likes. CSS's annotation, written by
Python 2, needs very little of that: one numpy array around one object of lists, dictionaries, texts and numbers. Here
the few names that such a file may use stand for values of this module, which only check and keep what they are given;
no function or class from elsewhere, numpy's included, ever reaches the pickle. Its instructions are carried out by
Python's own unpickler written in Python, twice as slow as the one in C, which a file of a few bytes can make take tens
of gigabytes or crash.
"""

import io
import math
import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from itma.errors import DataError
from itma.io import refuse_stream

_OBJECT = re.compile(r"\|?O[48]?")
_NUMBER = re.compile(r"[|<>=]?(b1|[iu][1248]|f[248])")
_CODES = b"".join(
    [
        *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.STACK_GLOBAL),
        *(pickle.REDUCE, pickle.BUILD, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE),
        *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINFLOAT),
        *(pickle.BINSTRING, pickle.SHORT_BINSTRING, pickle.BINUNICODE, pickle.SHORT_BINUNICODE),
        *(pickle.BINBYTES, pickle.SHORT_BINBYTES),
        *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT),
        *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
        *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE, pickle.BINGET, pickle.LONG_BINGET),
    ]
)


def read_pickled_npy(path: Path, way_out: str) -> Any:
    """The one object of an .npy file: lists, dictionaries, tuples, texts and numbers; arrays as `PickledArray`.

    Text of Python 2 is read as latin-1.

    Args:
        path: the file.
        way_out: what the person is to do where it cannot be used.

    Raises:
        DataError: the file is missing, truncated, not .npy, holds something other than one object, or names a function
            or class that such a file does not need, as one that is made to run code would.
    """
    refuse_stream(path)
    try:
        file = _Bytes(path.read_bytes())
        _check_header(file)
        array = _Unpickler(file, encoding="latin-1").load()
        if not isinstance(array, PickledArray) or array.shape != ():
            raise pickle.UnpicklingError("expected one object in an array without dimensions")
        return array.value
    except FileNotFoundError as error:
        raise DataError(f"the file {str(path)!r} does not exist; {way_out}") from error
    except OSError as error:
        raise DataError(f"the file {str(path)!r} cannot be read: {error.strerror}; {way_out}") from error
    except _RefusedError as error:
        raise DataError(
            f"{str(path)!r} asks for {str(error)!r}, which an annotation never needs; it may be made to run code on "
            f"this machine, so it was not opened; {way_out}"
        ) from error
    except Exception as error:  # a damaged pickle may raise anything; nothing of it has run
        problem = str(error)[:200] or "it ends too early"
        raise DataError(f"{str(path)!r} is damaged or was cut off: {problem}; {way_out}") from error


def write_pickled_npy(path: Path, value: Any) -> None:
    """Leave plain values in an .npy file as CSS's annotation has them, for `read_pickled_npy` and other people's code.

    That code opens it by `numpy.load(path, allow_pickle=True)`, under Python 2 or 3: the array is called as numpy
    called it when CSS was published, which newer ones know too.

    Args:
        path: the file.
        value: lists, dictionaries, texts and numbers.
    """
    array = np.empty((), dtype=object)
    array[()] = value
    pickled = pickle.dumps(array, protocol=2)
    named = pickled.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(named)


class _Bytes(io.BytesIO):
    """A file whose lines end: what was cut off within a name would else be taken for another name."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n"):
            raise EOFError
        return line


class _RefusedError(pickle.UnpicklingError):
    """The pickle asks for a name that it may not have."""


def _check_header(file: BinaryIO) -> None:
    """Read past the header of an .npy file that holds objects."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"expected .npy of version 1 or 2, found {version}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the header was written by Python 2
        shape, _, dtype = readers[version](file)
    if shape != () or dtype != np.dtype("O"):
        raise ValueError(f"expected one object, found an array of shape {shape} and type {dtype}")


class _Instructions(dict[int, Callable[[Any], None]]):
    """Those that plain values and arrays need; others would call, look up or load more."""

    def __missing__(self, code: int) -> NoReturn:
        raise pickle.UnpicklingError(f"an instruction that no annotation needs (byte {code:#04x})")


class _Unpickler(pickle._Unpickler):
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    dispatch = _Instructions((code, pickle._Unpickler.dispatch[code]) for code in _CODES)

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in, made anew for each request, so that no pickle can leave anything behind in it."""
        if f"{module}.{name}" not in _CALLS:
            raise _RefusedError(f"{module}.{name}"[:80])
        return _StandIn(f"{module}.{name}", _CALLS[f"{module}.{name}"])

    def load_setitem(self) -> None:
        """Dictionaries have texts and numbers as keys: to hash others, deeply nested, may crash Python."""
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self) -> None:
        self._set(self.pop_mark())

    def _set(self, items: list[Any]) -> None:
        table = self.stack[-1]
        if type(table) is not dict or not all(isinstance(key, str | int) for key in items[::2]):
            raise pickle.UnpicklingError("a dictionary whose keys are neither texts nor numbers")
        table.update(zip(items[::2], items[1::2], strict=True))

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems


class _StandIn:
    """What a name in the file stands for: it can be called, and nothing else."""

    __slots__ = ("_call", "name")

    def __init__(self, name: str, call: Callable[..., object]) -> None:
        self.name, self._call = name, call

    def __call__(self, *arguments: object) -> object:
        return self._call(*arguments)

    def __setstate__(self, state: object) -> NoReturn:
        raise pickle.UnpicklingError(f"{self.name} cannot be changed")


class PickledArray:
    """An array, filled by the step of the pickle that follows its making."""

    __slots__ = ("shape", "value")

    def __init__(self) -> None:
        self.shape: tuple[int, ...] | None = None
        self.value: Any = None
        """Numbers as an array; an object, or a list of objects, as it is."""

    def __setstate__(self, state: tuple[int, tuple[int, ...], "_Type", bool, object]) -> None:
        _, shape, kind, columns_first, data = state
        if not isinstance(kind, _Type) or not isinstance(shape, tuple) or not all(type(n) is int for n in shape):
            raise pickle.UnpicklingError("an array without shape and type")
        if len(shape) > 2:
            raise pickle.UnpicklingError(f"an array of {len(shape)} dimensions; expected two at most")
        if kind.dtype is None:
            if len(shape) > 1 or not isinstance(data, list) or len(data) != math.prod(shape):
                raise pickle.UnpicklingError("an array of objects whose shape is another than theirs")
            self.value = data if shape else data[0]
        else:
            numbers = np.frombuffer(_bytes(data), dtype=kind.dtype)
            if min(shape, default=1) < 0 or math.prod(shape) != len(numbers):
                raise pickle.UnpicklingError(f"an array of {len(numbers)} numbers; its shape {shape} needs others")
            self.value = numbers.reshape(shape, order="F" if columns_first else "C")
        self.shape = shape


class _Type:
    """The type of an array's values: numbers, or objects where `dtype` is absent."""

    __slots__ = ("dtype",)

    def __init__(self, text: object, *_: object) -> None:
        if not isinstance(text, str) or not (_OBJECT.fullmatch(text) or _NUMBER.fullmatch(text)):
            raise pickle.UnpicklingError("an array of something other than numbers or objects")
        self.dtype = np.dtype(text) if _NUMBER.fullmatch(text) else None

    def __setstate__(self, state: tuple[object, ...]) -> None:
        if state[1] not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError("a type of numbers without their byte order")
        if self.dtype is not None:
            self.dtype = self.dtype.newbyteorder(state[1])


def _reconstruct(kind: object, *_: object) -> PickledArray:
    if not isinstance(kind, _StandIn) or kind.name != "numpy.ndarray":
        raise pickle.UnpicklingError("an array of an unknown class")
    return PickledArray()


def _scalar(kind: object, data: object) -> int | float | bool:
    if not isinstance(kind, _Type) or kind.dtype is None:
        raise pickle.UnpicklingError("a number without its type")
    (number,) = np.frombuffer(_bytes(data), dtype=kind.dtype).tolist()
    return number  # type: ignore[no-any-return]


def _encode(text: object, encoding: object) -> bytes:
    """Python 3 writes bytes in this way for Python 2 to read."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes that are not latin-1")
    return text.encode("latin-1")


def _never(*_: object) -> NoReturn:
    raise pickle.UnpicklingError("an array that is made in an unknown way")


def _bytes(data: object) -> bytes:
    if isinstance(data, str):  # bytes of Python 2
        return data.encode("latin-1")
    if not isinstance(data, bytes):
        raise pickle.UnpicklingError("an array without its values")
    return data


_CALLS: dict[str, Callable[..., object]] = {
    "numpy.ndarray": _never,
    "numpy.dtype": _Type,
    "_codecs.encode": _encode,
    **{
        f"numpy.{home}.multiarray.{name}": call
        for home in ("core", "_core")  # the second since numpy 2
        for name, call in (("_reconstruct", _reconstruct), ("scalar", _scalar))
    },
}
"""What an array is made of in a pickle; each call only checks and keeps what it is given."""
