"""The parts that models are made of, as MLX modules; `lazarus_models.architecture` describes them."""
