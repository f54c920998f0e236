"""Work that goes on beside the main thread."""

import hashlib
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Task(Generic[Result]):
    """A function running on a thread of its own, which does not outlive the process."""

    def __init__(self, function: Callable[[], Result], *, name: str) -> None:
        self._function = function
        self._value: list[Result] = []
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value.append(self._function())
        except BaseException as failure:
            self._failure = failure

    def result(self) -> Result:
        """Wait for it; returns what the function returned or raises what it raised, each time it is asked."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._value[0]


class RunningHash:
    """A sha256 taken on a thread of its own, of bytes fed in order."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._task = Task(self._run, name="output-sha256")

    def feed(self, data: memoryview) -> None:
        """Queue more bytes; they must not change before the result is there."""
        self._queue.put(data)

    def result(self) -> str:
        """The digest of all that was fed, in hexadecimal."""
        self._queue.put(None)
        return self._task.result()

    def _run(self) -> str:
        digest = hashlib.sha256()
        while (data := self._queue.get()) is not None:
            digest.update(data)
        return digest.hexdigest()
