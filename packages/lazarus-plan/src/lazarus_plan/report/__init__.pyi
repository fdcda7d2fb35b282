from .advice import candidates as candidates
from .advice import reason as reason
from .explain import plan_rows as plan_rows
from .mixture import StepMixture as StepMixture
from .mixture import count_mixture as count_mixture
