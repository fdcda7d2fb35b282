"""FunctionGemma, a model of 270 M parameters for function calling, calls a function and answers with its result.

`python 01_functiongemma_inference.py` asks `functiongemma`, which is downloaded once; `--test-tiny` needs no download.
The functions and the loop are those of `call_functions.py`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from call_functions import main  # found by the line above

from lazarus_core.console import run

if __name__ == "__main__":
    run(lambda standalone_mode: main("functiongemma"), "01_functiongemma_inference.py")
