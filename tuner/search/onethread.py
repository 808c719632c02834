"""A thread for what the driver need not wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from typing import Any


class OneThread(Executor):
    """Runs what is submitted in order, always in the same thread, which is there from the first call on.

    Always the same: a new thread takes memory in a place of its own, which the C library then keeps. And not Python's
    own pool: that refuses everything once the program's main thread is at its end, though a search in another thread
    goes on. Nobody waits for it, at the end of the search or of the program.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._waiting: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._works = False
        self._over = False

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `call` when those before it are done."""
        if not self._works:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
            self._works = True
        future: Future[Any] = Future()
        self._waiting.put((future, partial(call, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:  # noqa: ARG002 - as of every executor
        """Let the thread end after what it does now."""
        self._over = True
        self._waiting.put(None)

    def _work(self) -> None:
        while self._run_next():
            pass

    def _run_next(self) -> bool:
        """In a function of its own: nothing of a call is held while the next one is waited for."""
        waiting = self._waiting.get()
        if waiting is None or self._over:
            return False
        future, call = waiting
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
        return True
