from .activations import ActivationDifference as ActivationDifference
from .activations import activation_diff as activation_diff
from .analyses import compare_activations as compare_activations
from .analyses import compare_weights as compare_weights
from .cka import linear_cka as linear_cka
from .tensors import effective_tensors as effective_tensors
from .weights import WeightDifference as WeightDifference
from .weights import weight_diff as weight_diff
