from .generate import bounded as bounded
from .generate import generate_tokens as generate_tokens
