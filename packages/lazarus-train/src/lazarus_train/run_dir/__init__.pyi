from .links import How as How
from .links import Link as Link
from .reader import RunRecord as RunRecord
from .report import RunPart as RunPart
from .report import part_of as part_of
