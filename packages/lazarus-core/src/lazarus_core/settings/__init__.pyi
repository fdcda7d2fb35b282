from .command import SettingsCommand as SettingsCommand
from .command import missing as missing
from .file import Layers as Layers
from .file import Read as Read
from .file import read_settings as read_settings
from .options import Option as Option
from .schema import Key as Key
