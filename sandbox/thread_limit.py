"""Lets a program start threads, up to a number: before each, the kernel asks here (seccomp's user notification). No limit of the
kernel's own counts threads of one program for root, and twenty thousand a second use up a machine's process numbers.
"""

import fcntl
import os
import struct
from errno import EAGAIN, ENOENT

MOST_THREADS = 200
"""A program may start in all."""
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_QUESTION, _ANSWER = struct.Struct("=Q72x"), struct.Struct("=QqiI")
_GO_ON = 1


class ThreadGate:
    """Answers the kernel's questions about one worker's programs."""

    def __init__(self, listener: int) -> None:
        self.listener = listener
        self._started = 0

    def begin(self) -> None:
        """The next program."""
        self._started = 0

    def answer(self) -> None:
        """Take one question and answer it. Raises OSError if the listener is none."""
        question = bytearray(_QUESTION.size)
        try:
            fcntl.ioctl(self.listener, _RECEIVE, question)
            self._started += 1
            (number,) = _QUESTION.unpack(question)
            refused = self._started > MOST_THREADS
            fcntl.ioctl(
                self.listener, _SEND, _ANSWER.pack(number, 0, -EAGAIN if refused else 0, 0 if refused else _GO_ON)
            )
        except OSError as error:
            if error.errno != ENOENT:  # it has ended while it asked
                raise

    def close(self) -> None:
        """No more questions: what asks then is told that there is nobody."""
        os.close(self.listener)
