"""The terminal interface of every Lazarus command: errors, signals, versions, progress, output.

Exit codes: 0 success, 1 a check failed, 2 bad input, bad usage or an error of the operating system. A signal gives 128
plus its number: 129 SIGHUP, 130 Ctrl-C, 143 SIGTERM, 141 when the reader of stdout ended (`| head`).

This package imports typer, numpy and pydantic only when they are needed, so that `--help` is fast and Ctrl-C works from
the start.
"""

from lazarus_core.console.color import has_color as has_color
from lazarus_core.console.output import READER_LEFT as READER_LEFT
from lazarus_core.console.output import flush_results as flush_results
from lazarus_core.console.output import quiet as quiet
from lazarus_core.console.output import read_stdin as read_stdin
from lazarus_core.console.output import say as say
from lazarus_core.console.output import show as show
from lazarus_core.console.output import show_colored as show_colored
from lazarus_core.console.output import show_line as show_line
from lazarus_core.console.output import show_table as show_table
from lazarus_core.console.output import warn as warn
from lazarus_core.console.output import write as write
from lazarus_core.console.process import HUNG_UP as HUNG_UP
from lazarus_core.console.process import INTERRUPTED as INTERRUPTED
from lazarus_core.console.process import TERMINATED as TERMINATED
from lazarus_core.console.process import run as run
from lazarus_core.console.process import version_option as version_option
from lazarus_core.console.progress_bar import duration as duration
from lazarus_core.console.progress_bar import progress as progress
from lazarus_core.console.system_errors import system_words as system_words
