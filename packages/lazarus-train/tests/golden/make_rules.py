"""What Muon and weight decay move in each family, by role: writes rules.md beside this file.

    .venv/bin/python packages/lazarus-train/tests/golden/make_rules.py MODELS

MODELS holds a model directory a family (15 of them, `../shared/data/models/families`). Layers of one shape are one line.
"""

import re
import sys
from pathlib import Path

from lazarus_models import load
from lazarus_models.components import parameter_roles
from lazarus_models.trees import weights
from lazarus_train.engine.optim import is_decayed, is_hidden_matrix

HEAD = """# What each rule moves

One line a parameter; `N` stands for every layer or expert. AdamW moves what Muon does not. Made by `make_rules.py`: a change
here is a change of how models train, and belongs into the changelog.
"""


def section(folder: Path) -> str:
    """The table of one family."""
    model = load(folder).model
    roles = parameter_roles(model)
    lines = [f"## {folder.name}", "", "| parameter | role | Muon | decay |", "|---|---|---|---|"]
    for name, tensor in weights(model).items():
        is_moved, is_pulled = (rule(name, tensor, roles[name]) for rule in (is_hidden_matrix, is_decayed))
        pattern = re.sub(r"\b[0-9]+\b", "N", name)
        lines.append(f"| {pattern} | {roles[name]} | {'yes' if is_moved else '-'} | {'yes' if is_pulled else '-'} |")
    return "\n".join(dict.fromkeys(lines)) + "\n"


if __name__ == "__main__":
    tables = [section(folder) for folder in sorted(Path(sys.argv[1]).iterdir())]
    (Path(__file__).parent / "rules.md").write_text("\n".join([HEAD, *tables]), encoding="utf-8", newline="\n")
