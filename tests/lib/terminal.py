"""A program on a pseudo-terminal of the test's, for what people type at."""
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time


class Terminal:
    """A program on a pty of ours."""

    def __init__(self, argv, env=None, rows=30, cols=100):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
                os.execvpe(argv[0], argv, os.environ if env is None else env)
            finally:
                os._exit(99)
        self.text = ""
        self.code = None

    def expect(self, pattern, timeout=40):
        end = time.monotonic() + timeout
        while not re.search(pattern, self.text):
            left = end - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.text!r}"
            if select.select([self.fd], [], [], min(left, 0.5))[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    data = b""
                if not data:
                    assert re.search(pattern, self.text), f"no {pattern!r} in {self.text!r}"
                self.text += data.decode(errors="replace")
        m = re.search(pattern, self.text)
        self.text = self.text[m.end():]
        return m

    def send(self, text):
        os.write(self.fd, text.encode())

    def size(self, rows, cols):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def ask_size(self, rows, cols, timeout=60):
        """A shell asks until its terminal has that size: engines set it soon, not at once."""
        end, said = time.monotonic() + timeout, None
        while said != (rows, cols):
            assert time.monotonic() < end, f"the size is {said}"
            self.send("stty size\n")
            m = self.expect(r"\n(?:(\d+) (\d+)|stty: standard input)\r")  # 0 0 is not told
            said = m[1] and (int(m[1]), int(m[2]))

    def mode(self):
        return termios.tcgetattr(self.fd)[3] & (termios.ICANON | termios.ECHO)

    def wait(self, timeout=40):
        end = time.monotonic() + timeout
        while self.code is None:
            assert time.monotonic() < end, f"it does not end: {self.text!r}"
            if select.select([self.fd], [], [], 0.05)[0]:
                with contextlib.suppress(OSError):
                    self.text += os.read(self.fd, 65536).decode(errors="replace")
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def close(self):
        if self.code is None:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
        os.close(self.fd)
