"""The Python-level guard: an audit hook (PEP 578) that refuses processes, sockets, writing files and executed text.

An audit hook cannot be removed. It is the only protection from files and processes where the operating system offers
none; elsewhere it is the second, and the one that reports what was attempted.
"""

import ast
import os
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from .text_guard import SYMPY, unsafe_reason

MAX_ATTEMPTS = 20
"""Attempts that a reply lists."""
_DETAIL_CHARS = 200
_REFUSED_EXACT = frozenset(
    {
        *("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile", "os.kill"),
        *("os.killpg", "os.putenv", "os.unsetenv", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod"),
        *("os.chown", "os.link", "os.symlink", "os.truncate", "os.utime", "os.setxattr", "os.removexattr"),
        *("os.chflags", "os.lockf", "pty.spawn", "subprocess.Popen", "signal.pthread_kill", "sys.addaudithook"),
        *("sys.settrace", "sys.setprofile", "gc.get_objects", "gc.get_referrers", "gc.get_referents", "code.__new__"),
        *("_thread.start_new_thread", "_thread.start_joinable_thread", "mmap.__new__", "pickle.find_class"),
        *("webbrowser.open", "urllib.Request", "sqlite3.connect", "resource.setrlimit", "resource.prlimit"),
        *("cpython._PySys_ClearAuditHooks", "cpython.run_command", "cpython.run_file", "cpython.run_startup"),
        *("cpython.PyInterpreterState_New", "sys.activate_stack_trampoline", "sys.remote_exec", "fcntl.ioctl"),
    }
)
_REFUSED_FAMILIES = (
    *("socket.", "ctypes.", "ftplib.", "http.client.", "imaplib.", "nntplib.", "poplib.", "smtplib.", "telnetlib."),
    *("shutil.", "tempfile.", "syslog.", "winreg.", "msvcrt.", "_winapi."),
)
_REFUSED_IMPORTS = frozenset({"ctypes", "_ctypes", "socket", "_socket", "subprocess", "_posixsubprocess", "mlx"})
_CODE_MAKERS = frozenset({"sympy.polys.monomials", "dataclasses", "collections"})
"""Modules that make and execute code of their own, from names that they check."""
_PLAIN_TYPES = (str, bytes, int, type(None))
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Refused(PermissionError):
    """The guard refused an action."""


class Guard:
    """What the hook saw during one verdict.

    Args:
        folder: The only folder in which files may be written.
    """

    __slots__ = (
        "_compiled_safe",
        "_folder",
        "_is_inside",
        "_marker",
        "_trusts_text",
        "_unsafe_names",
        "attempts",
        "executed",
    )

    def __init__(self, folder: str) -> None:
        self._folder = os.path.realpath(folder) + os.sep  # pathlib is too slow for a hook
        self._is_inside = False
        self.attempts: list[str] = []
        self.executed: list[str] = []
        self._marker = ""
        self._trusts_text = self._compiled_safe = False
        self._unsafe_names: set[str] = set()

    def begin(self, *, trusts_text: bool, marker: str) -> None:
        """Forgets the last verdict.

        Args:
            trusts_text: Whether text may be executed, as while our own adapter generates tasks.
            marker: A word of the answer; code with it is listed in `executed`. Empty for none.
        """
        self.attempts = []
        self.executed = []
        self._trusts_text, self._marker = trusts_text, marker
        self._compiled_safe = False
        self._unsafe_names.clear()

    def install(self) -> None:
        """Installs the hook, for the rest of the process."""
        sys.addaudithook(self._hook())

    def _hook(self) -> Callable[[str, tuple[Any, ...]], None]:
        def hook(event: str, args: tuple[Any, ...]) -> None:
            if event in _REFUSED_EXACT or event.startswith(_REFUSED_FAMILIES):
                self._refuse(event, args)
            elif event == "open":
                self._check_open(args)
            elif event == "import":
                if str(args[0]).split(".", 1)[0] in _REFUSED_IMPORTS:
                    self._refuse(event, args[:1])
            elif event == "compile":
                self._see_compile(args)
            elif event == "exec":
                self._check_exec(args)

        return hook

    def _refuse(self, event: str, args: tuple[Any, ...]) -> None:
        if len(self.attempts) < MAX_ATTEMPTS:
            self.attempts.append(f"{event} {_shown(args)}".strip())
        raise Refused(f"the jail refuses {event}")

    def _check_open(self, args: tuple[Any, ...]) -> None:
        path, mode, flags = args[0], args[1], args[2] if len(args) > 2 else 0
        is_writing = bool(flags & _WRITING) if isinstance(flags, int) else False
        if isinstance(mode, str) and set(mode) & set("wax+"):
            is_writing = True
        if not is_writing or isinstance(path, int):
            return
        if not os.path.realpath(os.fsdecode(path)).startswith(self._folder):
            self._refuse("open", (path, mode))

    def _see_compile(self, args: tuple[Any, ...]) -> None:
        """Notes whether text that is compiled is harmless. Compiling alone runs nothing, as in `ast.literal_eval`."""
        source, name = args[0], str(args[1])
        if self._is_inside or source is None or self._trusts_text:
            return
        self._is_inside = True
        try:
            self._compiled_safe = _is_file(source, name) or _is_safe(source)
        finally:
            self._is_inside = False
        if not self._compiled_safe:
            self._unsafe_names.add(name)

    def _check_exec(self, args: tuple[Any, ...]) -> None:
        code = args[0]
        if self._is_inside or not isinstance(code, CodeType):
            return
        name = code.co_filename
        if self._marker and len(self.executed) < MAX_ATTEMPTS and _contains(code, self._marker):
            self.executed.append(f"exec {name}: {' '.join(_words(code))[:_DETAIL_CHARS]}")
        if self._trusts_text:
            return
        is_text = name.startswith("<") and not name.startswith("<frozen ")
        is_unsafe = name in self._unsafe_names or (is_text and not self._compiled_safe)
        # The caller of the hook's caller; `inspect` would take longer to import than a worker to start.
        if is_unsafe and not _is_code_maker(sys._getframe(2)):  # pyright: ignore[reportPrivateUsage]
            self._refuse("exec", (" ".join(_words(code)),))


def _is_safe(source: Any) -> bool:
    try:
        text = source if isinstance(source, str) else bytes(source).decode()
    except (TypeError, ValueError, UnicodeDecodeError):
        return False  # a syntax tree: its text is unknown
    return unsafe_reason(text, SYMPY) is None or _only_imports_what_is_loaded(text)


def _only_imports_what_is_loaded(text: str) -> bool:
    """Whether a text imports loaded modules and does nothing else, as `from sympy import *` in sympy's parser."""
    if len(text) > _DETAIL_CHARS or "import" not in text:
        return False
    try:
        lines = ast.parse(text).body
    except (SyntaxError, ValueError):
        return False
    for line in lines:
        names = [line.module] if isinstance(line, ast.ImportFrom) and not line.level else []
        names = [each.name for each in line.names] if isinstance(line, ast.Import) else names
        if not names or any(name not in sys.modules for name in names):
            return False
    return bool(lines)


def _is_file(source: Any, name: str) -> bool:
    """Whether the text is that of an existing file, as in a late import."""
    if name.startswith("<") or not os.path.isabs(name):  # noqa: PTH117
        return False
    try:
        with open(name, "rb") as file:  # noqa: PTH123
            found = file.read(len(source) + 1)
    except (OSError, TypeError, ValueError):
        return False
    return found == (source.encode() if isinstance(source, str) else source)


def _is_code_maker(frame: FrameType) -> bool:
    """Whether the frame that executes code is one of a module that makes its own."""
    name = frame.f_globals.get("__name__")
    module = sys.modules.get(name) if name in _CODE_MAKERS else None
    return module is not None and frame.f_code.co_filename == module.__file__


def _contains(code: CodeType, marker: str) -> bool:
    return any(marker in word for word in _words(code))


def _words(code: CodeType) -> list[str]:
    """Names and constants of a code object and of those inside it."""
    found: list[str] = [*code.co_names]
    for value in code.co_consts:
        found += _words(value) if isinstance(value, CodeType) else [str(value)[:_DETAIL_CHARS]]
    return found


def _shown(args: tuple[Any, ...]) -> str:
    """The arguments of an event in one short line. Objects of other classes could have a hostile `__repr__`."""
    shown = [each if type(each) is str else ascii(each) for each in args if type(each) in _PLAIN_TYPES]
    return " ".join(" ".join(shown).split())[:_DETAIL_CHARS]
