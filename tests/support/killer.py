"""Commands that kill themselves at a given moment."""

_SCRIPT = """
import atexit, os, signal, sys
folder, moment = sys.argv[1], int(sys.argv[2])
left = moment

def hook(event, arguments):
    global left
    if any(isinstance(each, str | bytes | os.PathLike) and folder in os.fsdecode(each) for each in arguments):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
if not moment:
    atexit.register(lambda: print(-left, flush=True))
sys.argv = [SCRIPT, *sys.argv[3:]]
from PACKAGE.__main__ import main
main()
"""
"""Ends the process when it touches the folder for the nth time: to open, rename, list or remove something there. With 0 it
runs to its end and prints how often it touched the folder."""


def killer(script: str) -> str:
    """Source of a process that is a console script of ours: its arguments are a folder, a number n, and those of the script.

    Args:
        script: `lazarus` or `lazarus-train`.
    """
    package = {"lazarus": "lazarus_cli"}.get(script, script.replace("-", "_"))
    return _SCRIPT.replace("SCRIPT", repr(script)).replace("PACKAGE", package)
