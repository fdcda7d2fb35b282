"""A training command that kills itself at a given moment."""

KILLER = """
import os, signal, sys
folder, moment = sys.argv[1], int(sys.argv[2])
left = moment

def hook(event, arguments):
    global left
    if any(isinstance(each, str | bytes | os.PathLike) and folder in os.fsdecode(each) for each in arguments):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
sys.argv = ["lazarus-train", *sys.argv[3:]]
from lazarus_train.__main__ import main
main()
"""
"""Ends the process when it touches the folder for the nth time: to open, rename, list or remove something there."""
