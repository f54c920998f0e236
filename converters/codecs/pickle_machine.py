"""A pickle machine that can run nothing: it reads opcodes and builds inert values.

``pickle.Unpickler`` calls what a file names. Here a global is a name, a call is a method of ``World`` that knows a
short list of names, and no opcode imports, calls or sets an attribute of anything else. Every step reads within the
bytes it was given, and memory grows with their number only.

Opcodes: Lib/pickletools.py, the binary ones of protocols 1 to 5.
"""

import struct
from collections.abc import Callable

from .pickle_values import Persistent, Stub, World, checked_key
from .torch_faults import TorchFault

_OPCODES_LIMIT = 5_000_000  # a checkpoint with an optimizer has some 40 a tensor
_LINE_LIMIT = 1 << 12
_INTEGER_LIMIT = 1 << 10


class _Mark:
    """Where a run of items begins on the stack."""


_MARK = _Mark()


class PickleMachine:
    """One run over one pickle; ``position`` is behind its STOP afterwards."""

    def __init__(self, data: memoryview | bytes, world: World, position: int = 0) -> None:
        self.position = position
        self._data = data
        self._end = len(data)
        self._world = world
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}

    def run(self) -> object:
        """The value; raises ``TorchFault``."""
        data, end = self._data, self._end
        for _ in range(_OPCODES_LIMIT):
            if self.position >= end:
                raise TorchFault(f"its pickle goes on at byte {end}: it is truncated")
            opcode = data[self.position]
            self.position += 1
            if opcode == _STOP:
                return self._pop()
            step = _STEPS.get(opcode)
            if step is None:
                what = f"the opcode {_FOREIGN[opcode]}" if opcode in _FOREIGN else f"the byte {opcode:#04x}"
                raise TorchFault(f"its pickle has {what} at byte {self.position - 1}, which no file of weights has")
            step(self)
        raise TorchFault(f"its pickle has over {_OPCODES_LIMIT:,} opcodes, which no set of weights has")

    # Reading

    def _take(self, length: int) -> memoryview | bytes:
        start = self.position
        if length < 0 or start + length > self._end:
            raise TorchFault(f"its pickle asks for {length} bytes at byte {start}, of {self._end}: it is truncated")
        self.position = start + length
        return self._data[start : start + length]

    def _number(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little")

    def _line(self) -> str:
        start = self.position
        length = bytes(self._data[start : start + _LINE_LIMIT]).find(b"\n")
        if length < 0:
            raise TorchFault("its pickle has a line without an end")
        line = self._take(length + 1)
        return str(line[:length], "utf-8")

    # The stack

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _pop(self) -> object:
        if not self._stack or self._stack[-1] is _MARK:
            raise TorchFault("its pickle takes a value from an empty stack")
        return self._stack.pop()

    def _top(self) -> object:
        if not self._stack or self._stack[-1] is _MARK:
            raise TorchFault("its pickle refers to a value on an empty stack")
        return self._stack[-1]

    def _run_of_items(self) -> list[object]:
        stack = self._stack
        for at in range(len(stack) - 1, -1, -1):
            if stack[at] is _MARK:
                items = stack[at + 1 :]
                del stack[at:]
                return items
        raise TorchFault("its pickle ends a run of items that it did not begin")

    # Values

    def _text(self, length: int) -> None:
        self._push(str(self._take(length), "utf-8"))

    def _bytes(self, length: int) -> None:
        self._push(bytes(self._take(length)))

    def _old_text(self, length: int) -> None:
        # Python 2 had one type for text and bytes.
        data = bytes(self._take(length))
        try:
            self._push(data.decode())
        except UnicodeDecodeError:
            self._push(data)

    def _old_integer(self) -> None:
        # Python 2 wrote integers of more than 32 bits as text.
        line = self._line()
        self._push(line == "01" if line in ("00", "01") else int(line))

    def _long(self, width: int) -> None:
        length = self._number(width)
        if length > _INTEGER_LIMIT:
            raise TorchFault(f"its pickle has an integer of {length} bytes")
        self._push(int.from_bytes(self._take(length), "little", signed=True))

    def _double(self) -> None:
        self._push(struct.unpack(">d", self._take(8))[0])

    def _last(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(items)))

    # The memo

    def _put(self, index: int) -> None:
        # A dictionary: an index of four billion costs no more than one of zero.
        self._memo[index] = self._top()

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise TorchFault(f"its pickle recalls value {index}, which it did not store")
        self._push(self._memo[index])

    # Containers

    def _append(self, items: list[object]) -> None:
        match self._top():
            case list() as target:
                target.extend(items)
            case Stub() as stub:
                stub.items.extend(items)
            case _:
                raise TorchFault("its pickle appends to what is no list")

    def _store(self, items: list[object]) -> None:
        match self._top():
            case dict() as target:
                _set_items(target, items)
            case Stub() as stub:
                _set_items(stub.entries, items)
            case _:
                raise TorchFault("its pickle sets items of what is no dictionary")

    def _store_pair(self) -> None:
        value, key = self._pop(), self._pop()
        self._store([key, value])

    def _drop(self) -> None:
        if not self._stack:
            raise TorchFault("its pickle takes a value from an empty stack")
        self._stack.pop()

    # Objects

    def _global(self) -> None:
        self._push(self._world.find(self._line(), self._line()))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise TorchFault("its pickle names a global by what is no text")
        self._push(self._world.find(module, name))

    def _reduce(self) -> None:
        args, function = self._pop(), self._pop()
        if not isinstance(args, tuple):
            raise TorchFault("its pickle calls with arguments that are no tuple")
        self._push(self._world.call(function, args))

    def _new_with_keywords(self) -> None:
        keywords, args, kind = self._pop(), self._pop(), self._pop()
        if not isinstance(args, tuple) or not isinstance(keywords, dict):
            raise TorchFault("its pickle calls with arguments that are no tuple")
        self._push(self._world.call(kind, (*args, keywords) if keywords else args))

    def _old_object(self) -> None:
        items = self._run_of_items()
        if not items:
            raise TorchFault("its pickle makes an object of no class")
        self._push(self._world.call(items[0], tuple(items[1:])))

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        # Attributes of dictionaries and tensors (_metadata, hooks) say nothing about weights.
        if isinstance(target, Stub):
            target.state = state
        elif not isinstance(target, (dict, list, Persistent)):
            raise TorchFault("its pickle sets the state of what has none")

    def _frame(self) -> None:
        # A frame says how far to read ahead; what is in it is read as if there were none.
        length = self._number(8)
        if self.position + length > self._end:
            raise TorchFault(
                f"its pickle asks for {length} bytes at byte {self.position}, of {self._end}: it is truncated"
            )

    def _protocol(self) -> None:
        version = self._number(1)
        if version > 5:
            raise TorchFault(f"its pickle is of protocol {version}, which does not exist")


def _set_items(target: dict[object, object], items: list[object]) -> None:
    if len(items) % 2:
        raise TorchFault("its pickle has a key without a value")
    for at in range(0, len(items), 2):
        target[checked_key(items[at])] = items[at + 1]


Step = Callable[[PickleMachine], None]
_STOP = ord(".")
_M = PickleMachine


def _sized(make: Callable[[PickleMachine, int], None], width: int) -> Step:
    """A step whose operand is a length of ``width`` bytes, and as many bytes."""
    return lambda machine: make(machine, machine._number(width))


def _constant(value: object) -> Step:
    return lambda machine: machine._push(value)


def _fresh(make: Callable[[], object]) -> Step:
    return lambda machine: machine._push(make())


def _signed(machine: PickleMachine) -> None:
    machine._push(int.from_bytes(machine._take(4), "little", signed=True))


def _items(finish: Callable[[PickleMachine, list[object]], None]) -> Step:
    """A step that consumes the run of items since the last mark."""
    return lambda machine: finish(machine, machine._run_of_items())


# fmt: off
_TABLE: dict[bytes, Step] = {
    # constants and numbers
    b"N": _constant(None), b"\x88": _constant(True), b"\x89": _constant(False), b")": _constant(()),
    b"K": lambda m: m._push(m._number(1)), b"M": lambda m: m._push(m._number(2)), b"J": _signed,
    b"\x8a": lambda m: m._long(1), b"\x8b": lambda m: m._long(4), b"G": _M._double,
    b"I": _M._old_integer,
    # text and bytes
    b"X": _sized(_M._text, 4), b"\x8c": _sized(_M._text, 1), b"\x8d": _sized(_M._text, 8),
    b"B": _sized(_M._bytes, 4), b"C": _sized(_M._bytes, 1), b"\x8e": _sized(_M._bytes, 8),
    b"\x96": _sized(_M._bytes, 8), b"T": _sized(_M._old_text, 4), b"U": _sized(_M._old_text, 1),
    # containers; a set is a list, so that its items need no hash
    b"}": _fresh(dict), b"]": _fresh(list), b"\x8f": _fresh(list),
    b"t": _items(lambda m, items: m._push(tuple(items))), b"\x91": _items(_M._push),
    b"s": _M._store_pair, b"u": _items(_M._store),
    b"\x85": lambda m: m._last(1), b"\x86": lambda m: m._last(2), b"\x87": lambda m: m._last(3),
    b"a": lambda m: m._append([m._pop()]), b"e": _items(_M._append), b"\x90": _items(_M._append),
    # the stack and the memo
    b"(": _constant(_MARK), b"0": _M._drop, b"1": _items(lambda m, items: None), b"2": lambda m: m._push(m._top()),
    b"q": lambda m: m._put(m._number(1)), b"r": lambda m: m._put(m._number(4)),
    b"h": lambda m: m._get(m._number(1)), b"j": lambda m: m._get(m._number(4)),
    b"\x94": lambda m: m._put(len(m._memo)),
    b"\x80": _M._protocol, b"\x95": _M._frame,
    # names and objects
    b"c": _M._global, b"\x93": _M._stack_global, b"R": _M._reduce, b"\x81": _M._reduce,
    b"\x92": _M._new_with_keywords, b"o": _M._old_object, b"b": _M._build,
    b"Q": lambda m: m._push(m._world.persistent(m._pop())),
}
# fmt: on
_STEPS = {opcode[0]: step for opcode, step in _TABLE.items()}
# Opcodes that exist, for what weights have no use for: extension registries, and buffers outside of the file.
_FOREIGN = {0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER"}
