from .cache import ABSENT as ABSENT
