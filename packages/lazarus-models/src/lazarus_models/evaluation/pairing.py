"""Items of two models side by side."""

from collections.abc import Sequence

from lazarus_models.errors import EvaluationError
from lazarus_models.evaluation.task import Item

NOT_PAIRED = "LM-E511"


def paired(task: str, ours: Sequence[Item], others: Sequence[Item]) -> list[tuple[Item, Item]]:
    """The items of two models, paired by their ids.

    Args:
        task: Name of the task, for messages.
        ours: Items of the first model.
        others: Items of the second model.

    Raises:
        EvaluationError: The models have other items.
    """
    names, other_names = [each.id for each in ours], [each.id for each in others]
    if names != other_names:
        first = next(iter(sorted({*names} ^ {*other_names})), names[0])
        raise EvaluationError(
            f"{task}: the two models have different items, such as {first}; give both the same data, and texts that both "
            "tokenizers can score",
            NOT_PAIRED,
        )
    return list(zip(ours, others, strict=True))
