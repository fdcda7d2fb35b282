from .loggers import Logger as Logger
from .loggers import LoggerName as LoggerName
from .loggers import telling as telling
