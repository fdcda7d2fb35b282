"""Laws and Hypothesis strategies, for tests of your own loaders: `lazarus-plan[testing]`.

A loader that follows a plan obeys these laws:

- *Tokens*: every place of every row has the token, label, position and segment that the plan gives it.
- *Coverage*: in every epoch each token comes exactly once, or as often as a source is repeated.
- *Determinism*: a rank's stream is the same each time.
- *Micro-batches*: all ranks have as many steps, and in each step as many micro-batches.
- *Elastic resume*: w ranks up to a step, then v ranks from there, give together exactly the plan's steps.
- *Resume*, *elastic*: the same of any stream, and of sample ids alone: for loaders whose tokens cannot be seen.

```
@given(planned_tokens())
def test_my_loader_follows_its_plan(drawn):
    plan, tokens = drawn
    check_loader(plan, lambda rank, world_size, next_step: MyLoader(plan, tokens, rank, world_size, next_step), tokens)
```

Which law finds which fault; bold is the law that is meant for it:

| fault | found by |
|---|---|
| a cut sample begins at its first token in every row | **`check_tokens`**, `check_coverage`, `check_elastic_resume` |
| two samples of a row change places | **`check_tokens`**, `check_elastic_resume`, `check_elastic` |
| a sample begins one token late in its row | **`check_tokens`**, `check_coverage`, `check_elastic_resume` |
| the last token of every sample is missing | **`check_coverage`**, `check_tokens`, `check_elastic_resume` |
| a sample has the tokens of another version of the data | **`check_coverage`**, `check_tokens`, `check_elastic_resume` |
| padding has another id | **`check_tokens`**, `check_elastic_resume` |
| padding is a segment of its own | **`check_tokens`**, `check_coverage`, `check_elastic_resume` |
| padding is predicted | **`check_tokens`**, `check_elastic_resume` |
| labels are shifted by one | **`check_tokens`**, `check_elastic_resume` |
| labels ignore the loss mask | **`check_tokens`**, `check_elastic_resume` |
| the first token of a sample is predicted from the sample before it | **`check_tokens`**, `check_elastic_resume` |
| all samples of a row are one segment | **`check_tokens`**, `check_elastic_resume` |
| positions run on from one sample to the next | **`check_tokens`**, `check_elastic_resume` |
| a rank leaves its last row out | **`check_coverage`**, `check_tokens`, `check_elastic_resume`, `check_elastic` |
| every rank has all rows | **`check_coverage`**, `check_tokens`, `check_elastic_resume`, `check_elastic` |
| a rank without rows has no micro-batch | **`check_micro_batches`**, `check_elastic` |
| the last step is missing | **`check_micro_batches`**, `check_tokens`, `check_coverage`, `check_elastic_resume`, `check_elastic` |
| two steps change places | **`check_tokens`**, `check_elastic_resume`, `check_elastic` |
| the second epoch is the first again | **`check_tokens`**, `check_elastic_resume`, `check_elastic` |
| rows are drawn from a random state that all loaders share | **`check_determinism`**, `check_tokens`, `check_coverage`, `check_elastic_resume`, `check_resume`, `check_elastic` |
| rows are drawn from a shared random state that each loader seeds at its start | **`check_determinism`**, `check_elastic_resume`, `check_resume` |
| resuming starts again at the first step | **`check_resume`**, `check_elastic_resume` |
| resuming leaves a step out | **`check_resume`**, `check_elastic_resume` |
| the state counts steps of all ranks together | **`check_elastic_resume`** |
"""

from lazarus_plan.testing.planned_rows import FIELDS
from lazarus_plan.testing.strategies import length_caches, plan_configs, planned_tokens, plans
from lazarus_plan.testing.stream_laws import check_elastic, check_resume
from lazarus_plan.testing.token_laws import (
    check_coverage,
    check_determinism,
    check_elastic_resume,
    check_loader,
    check_micro_batches,
    check_tokens,
    numbered_tokens,
)

__all__ = [
    "FIELDS",
    "check_coverage",
    "check_determinism",
    "check_elastic",
    "check_elastic_resume",
    "check_loader",
    "check_micro_batches",
    "check_resume",
    "check_tokens",
    "length_caches",
    "numbered_tokens",
    "plan_configs",
    "planned_tokens",
    "plans",
]
