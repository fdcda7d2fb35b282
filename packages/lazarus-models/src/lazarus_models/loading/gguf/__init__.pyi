from .export import export_gguf as export_gguf
from .load import load_gguf as load_gguf
