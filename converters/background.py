"""Work that goes on beside the main thread."""

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
