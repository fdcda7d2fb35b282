from .lora import lora_layers as lora_layers
