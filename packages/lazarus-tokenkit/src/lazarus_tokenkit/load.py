"""From a name or a path to a tokenizer. Nothing is downloaded."""

from pathlib import Path

from lazarus_tokenkit.backends.huggingface import COMPANIONS, TOKENIZER_FILE, HuggingFaceTokenizer
from lazarus_tokenkit.errors import TokenizerNotFound
from lazarus_tokenkit.tokenizer import Tokenizer


def load_tokenizer(name_or_path: str | Path) -> Tokenizer:
    """Opens a tokenizer.

    >>> load_tokenizer("byte").encode("Hi")
    [72, 105]

    Args:
        name_or_path: `byte` (built in), a directory that holds `tokenizer.json`, or such a file, which then stands
            alone: its neighbours are not read.

    Raises:
        TokenizerNotFound: Nothing there that is a tokenizer.
        TokenizerError: A tokenizer that cannot be used.
    """
    if name_or_path == "byte":
        from lazarus_tokenkit.backends.byte import byte_tokenizer

        return byte_tokenizer()
    path = Path(name_or_path)
    if path.is_dir() and (path / TOKENIZER_FILE).is_file():
        present = [file_name for file_name in (TOKENIZER_FILE, *COMPANIONS) if (path / file_name).is_file()]
        files = {file_name: (path / file_name).read_bytes() for file_name in present}
        return HuggingFaceTokenizer.from_files(files, path.resolve().name)
    if path.is_file():
        return HuggingFaceTokenizer.from_files({TOKENIZER_FILE: path.read_bytes()}, path.stem)
    found = f"is a directory without {TOKENIZER_FILE}" if path.is_dir() else "does not exist"
    raise TokenizerNotFound(
        f"no tokenizer `{name_or_path}`: the path {found}; give `byte`, a directory with {TOKENIZER_FILE}, or that file",
        "LT-E101",
    )
