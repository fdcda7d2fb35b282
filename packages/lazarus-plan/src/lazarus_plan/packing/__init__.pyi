from .stats import rows_a_step as rows_a_step
