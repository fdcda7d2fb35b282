"""Review a committed lock in continuous integration: one function, and a writer for each format."""

from lazarus_plan.ci.review import Changes as Changes
from lazarus_plan.ci.review import Review as Review
from lazarus_plan.ci.review import review_lock as review_lock
