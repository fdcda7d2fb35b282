"""What each code means and what to do about it: the rules of SARIF logs and the table for programs.

FORMAT.md lists the same codes in ranges; a test compares this table with every code in the source.
"""

from typing import NamedTuple

_FILE = "Give another file or setting; the message names it."
_LINE = "Build the plan again; plan.jsonl is written by programs only."
_LOCK = "Build the plan again, or restore the file that the message names."
_STALE = "Build lengths again and run `lock --update`, or restore what changed."
_AUDIT = "Do not trust the run; train again from a checkpoint before the step that the message names."


class Rule(NamedTuple):
    """A code's meaning.

    Args:
        meaning: What is wrong, in one sentence without its full stop.
        way_out: What to do.
    """

    meaning: str
    way_out: str


RULES = {
    "LP-E001": Rule("A length cache is missing", "Build it with `lazarus data lengths build`, or give its path."),
    "LP-E002": Rule("A length cache is empty", "Build it again with `lazarus data lengths build`."),
    "LP-E003": Rule("A line is not the JSON object that it should be", _FILE),
    "LP-E004": Rule("A length cache is truncated or extended", "Build it again with `lazarus data lengths build`."),
    "LP-E005": Rule("These lengths or settings cannot be planned", _FILE),
    "LP-E006": Rule("A value has no canonical JSON form", _FILE),
    "LP-E007": Rule("A folder is no plan, or must not be replaced", _FILE),
    "LP-E008": Rule("A setting is out of range", _FILE),
    "LP-E009": Rule("An input is missing or cannot be used", _FILE),
    "LP-E010": Rule("An output would replace something else", "Choose another path, or `--force`."),
    "LP-E011": Rule("An input is no regular file", _FILE),
    "LP-E012": Rule("A file, line or number is larger than this version reads", _FILE),
    "LP-E013": Rule("A file holds a merge conflict", "Run the two commands that the message names."),
    "LP-E101": Rule("A line is not ASCII, or begins with a byte order mark", _LINE),
    "LP-E102": Rule("A line does not end in one line feed", _LINE),
    "LP-E103": Rule("A number is not spelt canonically", _LINE),
    "LP-E104": Rule("A line has white space outside the canonical form", _LINE),
    "LP-E105": Rule("The members of a line are in another order", _LINE),
    "LP-E106": Rule("A line is not a JSON object", _LINE),
    "LP-E107": Rule("A line has another number of ranges than samples", _LINE),
    "LP-E108": Rule("Two ranges of a step overlap or descend", _LINE),
    "LP-E109": Rule("A range straddles rows or lies outside the step", _LINE),
    "LP-E110": Rule("Sums, spans or row length of a line do not add up", _LINE),
    "LP-E111": Rule("Steps are missing", _LINE),
    "LP-E112": Rule("Steps stand in another order", _LINE),
    "LP-E113": Rule("A step stands twice", _LINE),
    "LP-E114": Rule("The file of steps is cut off", _LINE),
    "LP-E120": Rule("A sample or an id occurs too often", _LINE),
    "LP-E121": Rule("A sample is missing", _LINE),
    "LP-E122": Rule("A sample is out of range", _LINE),
    "LP-E123": Rule("Pieces or exclusions do not add up", _LINE),
    "LP-E130": Rule("A sample has another length than planned", _STALE),
    "LP-E131": Rule("A sample is longer than a row", "Choose a longer row, or an `oversize` policy."),
    "LP-E132": Rule("A sample has no tokens", "Remove it, or choose a `zero_length` policy."),
    "LP-E133": Rule("Sources and length caches do not match", "Give one length cache for each source, in order."),
    "LP-E134": Rule("A rebased plan cannot be made so", "The message names the setting, or the parent that is needed."),
    "LP-E140": Rule("Data changed after the lengths were built", _STALE),
    "LP-E141": Rule("Rows were added, removed or reordered after the lengths were built", _STALE),
    "LP-E142": Rule("The chat template changed", _STALE),
    "LP-E143": Rule("The tokenizer's vocabulary changed", _STALE),
    "LP-E144": Rule("The tokenizer's merges changed", _STALE),
    "LP-E145": Rule("The tokenizer's special tokens changed", _STALE),
    "LP-E146": Rule("Parameters of encoding changed", _STALE),
    "LP-E147": Rule("The tokenizer gives other token ids", _STALE),
    "LP-E150": Rule(
        "Not the plan that was expected or rebuilt", "Renew the lock with `lock --update`, or restore its inputs."
    ),
    "LP-E151": Rule("The documents of a plan contradict each other or its lines", _LOCK),
    "LP-E152": Rule("A proof proves nothing", "Make the proof again from the plan."),
    "LP-E153": Rule("A cache belongs to another plan", "Delete plan.idx and plan.rows, or build the plan again."),
    "LP-E160": Rule("The format is newer than this version reads", "Upgrade lazarus-plan."),
    "LP-E161": Rule("The format is too old to prove what the plan was made from", "Build the plan again."),
    "LP-E170": Rule("The audit log skips steps", _AUDIT),
    "LP-E171": Rule("The audit log repeats a step", _AUDIT),
    "LP-E172": Rule("The audit log is of another plan", "Give the plan that the run followed."),
    "LP-E173": Rule("The audit log has steps in another order", _AUDIT),
    "LP-E174": Rule("The chain of the audit log is broken", _AUDIT),
    "LP-E175": Rule("The run trained on other tokens than the data give", _AUDIT),
    "LP-E176": Rule("The audit log has a line of another spelling, or binds something else", _AUDIT),
    "LP-E200": Rule(
        "A row in memory is no row of lengths or token ids", "Give rows of the form that the message names."
    ),
    "LP-E201": Rule("A length cache in memory lacks members of its rows", "Write the rows by `LengthsWriter`."),
    "LP-W201": Rule("Much of the plan is padding", "Choose another row length or token budget."),
    "LP-W202": Rule("Many samples are cut", "Choose a longer row."),
    "LP-W203": Rule("Steps cost unevenly", "Choose a larger token budget."),
    "LP-W204": Rule("Samples repeat often", "Plan fewer epochs or repeats."),
    "LP-W205": Rule("A fingerprint is missing", "Build lengths with `lazarus data lengths build`."),
    "LP-W206": Rule("Data was not compared", "Give the data files that the length caches were built from."),
}
"""By code."""
UNKNOWN = Rule("A check failed", "The message says what to do.")
