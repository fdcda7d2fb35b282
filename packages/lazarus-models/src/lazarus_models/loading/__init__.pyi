from .files import load_hashed as load_hashed
from .hub import locate as locate
from .quantized_layers import quantize_like as quantize_like
