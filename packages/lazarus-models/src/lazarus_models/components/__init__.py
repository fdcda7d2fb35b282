"""The parts that models are made of, as MLX modules; `lazarus_models.config.architecture` describes them."""
