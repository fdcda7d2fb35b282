from .charts import Bar as Bar
from .charts import bars as bars
from .charts import columns as columns
from .charts import lines as lines
from .document import PAGE as PAGE
from .document import page as page
from .document import section as section
