from .items import ROW_LEN_MULTIPLE as ROW_LEN_MULTIPLE
from .stats import rows_a_step as rows_a_step
