"""Executors and pieces of work that workers import; quickly, since they do so again and again."""

import json
import os
import signal
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import get_context
from pathlib import Path

from backcast.engine.log.spread import done, refused

DEADLY, UNLUCKY = 3, 5
"The piece that ends each worker, and that which ends only its first."


def threads() -> Executor:
    return ThreadPoolExecutor(2)


def one_thread() -> AbstractContextManager[Executor]:
    return ThreadPoolExecutor(1)


def processes() -> Executor:
    return ProcessPoolExecutor(2, get_context("spawn"))


def no_executor() -> list[int]:
    return [1, 2]


def failing() -> Executor:
    raise OSError("no such cluster")


def short_lived() -> Executor:
    """An executor whose worker ends at once."""
    return ProcessPoolExecutor(1, get_context("spawn"), initializer=end, initargs=(3,))


def end(status: int) -> None:
    os._exit(status)


def deadly(text: str) -> str:
    """Return a number, and leave a file of it; end the worker where it is one of those above."""
    number, folder = json.loads(text)
    before = list(Path(folder).glob(f"{number}-*"))
    Path(folder, f"{number}-{os.getpid()}").touch()
    if number == DEADLY or (number == UNLUCKY and not before):
        os.kill(os.getpid(), signal.SIGKILL)
    return done(number)


def picky(text: str) -> str:
    """Return a text that the engine's worker refuses, whoever it is."""
    return refused("somebody", f"needed another text, found {text}", whole=text == "whole")
