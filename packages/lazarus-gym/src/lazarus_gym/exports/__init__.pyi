from .files import EXPORT as EXPORT
from .files import LIBRARIES as LIBRARIES
from .files import ExportConfig as ExportConfig
from .files import Library as Library
from .files import export_tasks as export_tasks
