from .merge_conflicts import BLOCK_BYTES as BLOCK_BYTES
from .merge_conflicts import HEAD_BYTES as HEAD_BYTES
from .merge_conflicts import find_marker as find_marker
from .merge_conflicts import has_markers as has_markers
from .merge_conflicts import is_lfs_pointer as is_lfs_pointer
from .one_file import join_sources as join_sources
