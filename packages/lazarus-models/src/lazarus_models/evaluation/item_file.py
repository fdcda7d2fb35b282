"""The file of items: what a model did on each item, as JSON Lines."""

import json
from collections.abc import Iterator, Mapping

from lazarus_core.outputs import OutputKind, begins_with
from lazarus_models.evaluation.task import TaskResult

ITEMS = OutputKind("a file of evaluated items", begins_with(r'\{"task": '))


def item_lines(results: Mapping[str, TaskResult]) -> Iterator[bytes]:
    """One line an item: task, id, the value of each metric, and what the model did.

    Args:
        results: The result of each task, by its name.
    """
    for task, result in results.items():
        for item in result.items:
            values = {name: value / unit if unit else 0.0 for name, (value, unit) in item.values.items()}
            line = {"task": task, "id": item.id, "values": values, "details": dict(item.details)}
            yield (json.dumps(line, ensure_ascii=False) + "\n").encode()
