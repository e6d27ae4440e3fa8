"""A command at a terminal of its own, whose keyboard is in our hands."""

import errno
import os
import pty
import subprocess
import threading
from pathlib import Path

import psutil

CTRL_C = b"\x03"


class Terminal:
    """Runs a command in the foreground of a new terminal."""

    def __init__(self, *command: object, folder: Path) -> None:
        self._keyboard, screen = pty.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *map(str, command)], stdin=screen, stdout=screen, stderr=screen, cwd=folder
        )
        os.close(screen)
        self._shown = b""
        self._started: set[psutil.Process] = set()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                self._shown += os.read(self._keyboard, 4096)
            except OSError as error:
                if error.errno != errno.EIO:  # what Linux says when the last process has closed a terminal
                    raise
                return

    def children(self) -> set[psutil.Process]:
        """Return what the command has started and is still there."""
        try:
            found = set(psutil.Process(self.process.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            found = set()
        self._started |= found
        return found

    def press(self, keys: bytes) -> None:
        self.children()
        os.write(self._keyboard, keys)

    def ended(self) -> tuple[int, str]:
        """Wait for the end, and return the exit code and what the screen has shown; fail if a process is left."""
        code = self.process.wait()
        left = psutil.wait_procs(self._started, timeout=30)[1]
        assert not left, left
        self._reader.join()
        os.close(self._keyboard)
        return code, self._shown.decode()
