from .address import OpenEnvAddress as OpenEnvAddress
from .address import OpenEnvConfig as OpenEnvConfig
from .client import OpenEnvClient as OpenEnvClient
from .environment import OpenEnvEnvironment as OpenEnvEnvironment
from .messages import ActionForm as ActionForm
