"""The bar: silent where nobody looks, with rate and time left on a terminal."""

import io
import os
import pty
import subprocess
import sys

import pytest
from byte_cases import environment

from jaxou.particles import progress

PROGRAM = """
import sys, time
from jaxou.particles import progress
progress.PATIENCE = 0.2
with progress.reporter(None) as report:
    for done in range(1, 9):
        time.sleep(0.1)
        report and report(done * 1000, 9000)
print("finished")
"""


def test_silent_unless_standard_error_is_a_terminal(monkeypatch, capsys):
    with progress.reporter(None) as report:
        assert report is None
    assert capsys.readouterr() == ("", "")
    with progress.reporter(False) as report:
        assert report is None
    with pytest.raises(TypeError, match="progress=3 must be True, False, None or a function"):
        with progress.reporter(3):
            pass
    # on a terminal, but over at once: nothing either
    shown = io.StringIO()
    shown.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", shown)
    with progress.reporter(None) as report:
        report(10, 20)
        report(20, 20)
    assert shown.getvalue().strip() == ""


@pytest.mark.slow
@pytest.mark.multiprocess
def test_a_pipe_gets_nothing_and_a_terminal_the_rate_and_the_time_left():
    start = dict(args=[sys.executable, "-c", PROGRAM], env=environment(TERM="xterm", COLUMNS="100"))
    done = subprocess.run(**start, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("finished\n", "")
    ours, theirs = pty.openpty()
    child = subprocess.Popen(**start, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(ours)
    assert child.wait(timeout=60) == 0
    text = seen.decode()
    assert "particles/s" in text and "%" in text and "0:00:0" in text, text
