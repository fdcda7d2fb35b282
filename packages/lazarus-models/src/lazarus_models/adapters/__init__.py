"""LoRA adapters: layers, files, PEFT's format, the digest of their base model."""
