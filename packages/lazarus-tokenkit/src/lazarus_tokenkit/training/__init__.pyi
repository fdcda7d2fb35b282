from .card import ReportCard as ReportCard
from .card import freeze as freeze
from .card import make_card as make_card
from .run import Estimate as Estimate
from .run import estimate as estimate
from .run import train_files as train_files
