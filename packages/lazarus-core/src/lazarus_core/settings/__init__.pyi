from .command import SettingsCommand as SettingsCommand
from .command import missing as missing
from .file import Read as Read
from .file import read_settings as read_settings
from .layers import Layers as Layers
from .layers import load_settings as load_settings
from .options import Option as Option
from .schema import Key as Key
