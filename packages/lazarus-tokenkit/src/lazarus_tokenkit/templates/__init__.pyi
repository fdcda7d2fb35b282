from .registry import OWN as OWN
from .registry import REGISTRY as REGISTRY
from .registry import TemplateEntry as TemplateEntry
from .registry import choose_template as choose_template
from .registry import missing_tokens as missing_tokens
from .render import ChatTemplate as ChatTemplate
