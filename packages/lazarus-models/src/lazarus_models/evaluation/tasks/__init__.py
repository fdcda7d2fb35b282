"""The kinds of tasks, one file each; `lazarus_models.evaluation.registry` lists them."""
