from .fingerprint import plan_id as plan_id
from .fingerprint import plan_identity as plan_identity
from .fingerprint import short as short
from .fingerprint import source_identities as source_identities
from .merkle import leaf_hash as leaf_hash
from .merkle import merkle_root as merkle_root
from .merkle import root_of_leaves as root_of_leaves
from .step_codec import encode_step as encode_step
