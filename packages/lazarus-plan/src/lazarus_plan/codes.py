"""The meaning, usual cause and way out of every code of lazarus-plan. FORMAT.md lists the same codes in ranges."""

from lazarus_core.codes import Code

CODES = {
    "LP-E001": Code(
        "A length cache is missing",
        "The path is wrong, or lengths were never built",
        "Build it with `lazarus_tokenkit.build_lengths` (command line: `lazarus data lengths build`), or give its path.",
    ),
    "LP-E002": Code(
        "A length cache is empty",
        "A build was interrupted, or the data has no rows",
        "Build it again with `lazarus_tokenkit.build_lengths` (command line: `lazarus data lengths build`).",
    ),
    "LP-E003": Code(
        "A line is not the JSON object that it should be",
        "The file was edited by hand, or is of another kind",
        "Give another file or setting; the message names it.",
    ),
    "LP-E004": Code(
        "A length cache is truncated or extended",
        "A copy or download was cut off, or the file was edited",
        "Build it again with `lazarus_tokenkit.build_lengths` (command line: `lazarus data lengths build`).",
    ),
    "LP-E005": Code(
        "These lengths or settings cannot be planned",
        "A sample is longer than a row, or a setting contradicts another",
        "Give another file or setting; the message names it.",
    ),
    "LP-E006": Code(
        "A value has no canonical JSON form",
        "A float, or an integer of 2^53 or more, in a document that is hashed",
        "Give another file or setting; the message names it.",
    ),
    "LP-E007": Code(
        "A folder is not a plan, or must not be replaced",
        "The path names another folder",
        "Give another file or setting; the message names it.",
    ),
    "LP-E008": Code(
        "A setting is out of range",
        "A typing error, or a value in another unit",
        "Give another file or setting; the message names it.",
    ),
    "LP-E009": Code(
        "An input is missing or cannot be used",
        "A path is missing, or standard input is closed",
        "Give another file or setting; the message names it.",
    ),
    "LP-E010": Code(
        "An output would replace something else",
        "The output names an input or a file of another kind",
        "Choose another path, or set `force` (command line: `--force`).",
    ),
    "LP-E011": Code(
        "An input is not a regular file",
        "The path is a folder, a named pipe or a device",
        "Give another file or setting; the message names it.",
    ),
    "LP-E012": Code(
        "A file, line or number is larger than this version reads",
        "The file is not what it seems, or it is one long line",
        "Give another file or setting; the message names it.",
    ),
    "LP-E013": Code(
        "A file has an unresolved merge conflict",
        "A merge that git could not finish",
        "Take one side with git, then make the call or run the command that the message names.",
    ),
    "LP-E101": Code(
        "A line is not ASCII, or begins with a byte order mark",
        "An editor changed the encoding of plan.jsonl",
        "Build the plan again; plan.jsonl is written by programs only.",
    ),
    "LP-E102": Code(
        "A line does not end in one line feed",
        "A copy was cut off, or line ends were changed",
        "Build the plan again; plan.jsonl is written by programs only.",
    ),
    "LP-E103": Code(
        "A number is not in canonical form",
        "Another program wrote plan.jsonl",
        "Build the plan again; plan.jsonl is written by programs only.",
    ),
    "LP-E104": Code(
        "A line has white space outside the canonical form",
        "Another program wrote plan.jsonl",
        "Build the plan again; plan.jsonl is written by programs only.",
    ),
    "LP-E105": Code(
        "The members of a line are in another order",
        "Another program wrote plan.jsonl",
        "Build the plan again; plan.jsonl is written by programs only.",
    ),
    "LP-E106": Code(
        "A line is not a JSON object",
        "Another program wrote plan.jsonl",
        "Build the plan again; plan.jsonl is written by programs only.",
    ),
    "LP-E107": Code(
        "A line has another number of ranges than samples",
        "plan.jsonl was edited",
        "Build the plan again; plan.jsonl is written by programs only.",
    ),
    "LP-E108": Code(
        "Two ranges of a step overlap or descend",
        "plan.jsonl was edited",
        "Build the plan again; plan.jsonl is written by programs only.",
    ),
    "LP-E109": Code(
        "A range straddles rows or lies outside the step",
        "plan.jsonl was edited",
        "Build the plan again; plan.jsonl is written by programs only.",
    ),
    "LP-E110": Code(
        "Sums, spans or row length of a line do not add up",
        "plan.jsonl was edited",
        "Build the plan again; plan.jsonl is written by programs only.",
    ),
    "LP-E111": Code(
        "Steps are missing", "Lines were deleted", "Build the plan again; plan.jsonl is written by programs only."
    ),
    "LP-E112": Code(
        "Steps are in another order",
        "Lines were sorted or moved",
        "Build the plan again; plan.jsonl is written by programs only.",
    ),
    "LP-E113": Code(
        "A step occurs twice", "Lines were copied", "Build the plan again; plan.jsonl is written by programs only."
    ),
    "LP-E114": Code(
        "The file of steps is cut off",
        "A copy or download was cut off",
        "Build the plan again; plan.jsonl is written by programs only.",
    ),
    "LP-E120": Code(
        "A sample or an id occurs too often",
        "plan.jsonl was edited, or a length cache repeats an id",
        "Build the plan again; plan.jsonl is written by programs only.",
    ),
    "LP-E121": Code(
        "A sample is missing", "plan.jsonl was edited", "Build the plan again; plan.jsonl is written by programs only."
    ),
    "LP-E122": Code(
        "A sample is out of range",
        "The plan and the length cache are of different data",
        "Build the plan again; plan.jsonl is written by programs only.",
    ),
    "LP-E123": Code(
        "Pieces or exclusions do not add up",
        "plan.jsonl or metadata.json was edited",
        "Build the plan again; plan.jsonl is written by programs only.",
    ),
    "LP-E130": Code(
        "A sample has another length than planned",
        "The data or the tokenizer changed after the plan was built",
        "Build lengths again and renew the lock with `update_lock` (command line: `lazarus data batchplan lock --update`), or restore what changed.",
    ),
    "LP-E131": Code(
        "A sample is longer than a row",
        "A row length below the longest sample",
        "Choose a longer row, or an `oversize` policy.",
    ),
    "LP-E132": Code("A sample has no tokens", "An empty row of data", "Remove it, or choose a `zero_length` policy."),
    "LP-E133": Code(
        "Sources and length caches do not match",
        "A length cache is missing, or the order differs",
        "Give one length cache for each source, in order.",
    ),
    "LP-E134": Code(
        "These steps cannot be rebased",
        "The parent plan is absent, or its steps would change",
        "The message names the setting, or the parent that is needed.",
    ),
    "LP-E135": Code(
        "Sources were measured with different tokenizers",
        "Lengths of another tokenizer, or older ones",
        "Build the lengths of all sources with one tokenizer.",
    ),
    "LP-E140": Code(
        "Data changed after the lengths were built",
        "A row of the data file was edited",
        "Build lengths again and renew the lock with `update_lock` (command line: `lazarus data batchplan lock --update`), or restore what changed.",
    ),
    "LP-E141": Code(
        "Rows were added, removed or reordered after the lengths were built",
        "The data file was extended, filtered or sorted",
        "Build lengths again and renew the lock with `update_lock` (command line: `lazarus data batchplan lock --update`), or restore what changed.",
    ),
    "LP-E142": Code(
        "The chat template changed",
        "Another chat template, or another version of it",
        "Build lengths again and renew the lock with `update_lock` (command line: `lazarus data batchplan lock --update`), or restore what changed.",
    ),
    "LP-E143": Code(
        "The tokenizer's vocabulary changed",
        "Another tokenizer, or an extended vocabulary",
        "Build lengths again and renew the lock with `update_lock` (command line: `lazarus data batchplan lock --update`), or restore what changed.",
    ),
    "LP-E144": Code(
        "The tokenizer's merges changed",
        "Another tokenizer, or a retrained one",
        "Build lengths again and renew the lock with `update_lock` (command line: `lazarus data batchplan lock --update`), or restore what changed.",
    ),
    "LP-E145": Code(
        "The tokenizer's special tokens changed",
        "Special tokens were added or renamed",
        "Build lengths again and renew the lock with `update_lock` (command line: `lazarus data batchplan lock --update`), or restore what changed.",
    ),
    "LP-E146": Code(
        "Parameters of encoding changed",
        "Another maximum length, field or version of the encoder",
        "Build lengths again and renew the lock with `update_lock` (command line: `lazarus data batchplan lock --update`), or restore what changed.",
    ),
    "LP-E147": Code(
        "The tokenizer gives other token ids",
        "Another tokenizer library, or changed normalisation",
        "Build lengths again and renew the lock with `update_lock` (command line: `lazarus data batchplan lock --update`), or restore what changed.",
    ),
    "LP-E150": Code(
        "Not the plan that was expected or rebuilt",
        "Lengths or settings changed after the lock was made",
        "Renew the lock with `update_lock` (command line: `lazarus data batchplan lock --update`), or restore its inputs.",
    ),
    "LP-E151": Code(
        "The documents of a plan contradict each other or its lines",
        "A document was edited, or line ends were changed by git",
        "Build the plan again, or restore the file that the message names.",
    ),
    "LP-E152": Code(
        "A proof is not valid for the plan",
        "The proof is of another plan or was edited",
        "Make the proof again from the plan.",
    ),
    "LP-E153": Code(
        "A cache belongs to another plan",
        "Files of two plans were mixed in one folder",
        "Delete plan.idx and plan.rows, or build the plan again.",
    ),
    "LP-E160": Code(
        "The format is newer than this version reads",
        "The plan was made by a newer lazarus-plan",
        "Upgrade lazarus-plan.",
    ),
    "LP-E161": Code(
        "The format is too old to prove what the plan was made from",
        "The plan was made before format 2",
        "Build the plan again.",
    ),
    "LP-E170": Code(
        "The audit log skips steps",
        "The log was edited, or the run left steps out",
        "Do not trust the run; train again from a checkpoint before the step that the message names.",
    ),
    "LP-E171": Code(
        "The audit log repeats a step",
        "The log was edited, or a step was trained twice",
        "Do not trust the run; train again from a checkpoint before the step that the message names.",
    ),
    "LP-E172": Code(
        "The audit log is of another plan", "The run followed another plan", "Give the plan that the run followed."
    ),
    "LP-E173": Code(
        "The audit log has steps in another order",
        "The log was edited, or steps were trained in another order",
        "Do not trust the run; train again from a checkpoint before the step that the message names.",
    ),
    "LP-E174": Code(
        "The chain of the audit log is broken",
        "The log was edited after it was written",
        "Do not trust the run; train again from a checkpoint before the step that the message names.",
    ),
    "LP-E175": Code(
        "The run trained on other tokens than the data give",
        "The loader fed other tokens than planned",
        "Do not trust the run; train again from a checkpoint before the step that the message names.",
    ),
    "LP-E176": Code(
        "The audit log has a line in another form, or binds something else",
        "The log was edited, or another program wrote it",
        "Do not trust the run; train again from a checkpoint before the step that the message names.",
    ),
    "LP-E190": Code(
        "Nothing states which tokens an exported loader predicts",
        "Data with prompts but without labels or masks",
        "Give labels or masks, or `loss_on='all'`.",
    ),
    "LP-E191": Code(
        "Labels or masks do not fit the tokens of their sample",
        "Labels that are shifted, or of another length",
        "Give one label for each token; do not shift them.",
    ),
    "LP-E192": Code(
        "An encoded file is of other data, or another template, tokenizer or encoding",
        "The file was encoded before the data or settings changed",
        "Encode the plan's data with its tokenizer and template (command line: `lazarus tokenizer encode -d DATA -t TOKENIZER -o ENCODED`).",
    ),
    "LP-E193": Code(
        "A sample has other tokens than the plan was built from",
        "Another tokenizer, or changed data",
        "Encode the plan's data with its tokenizer and template (command line: `lazarus tokenizer encode -d DATA -t TOKENIZER -o ENCODED`).",
    ),
    "LP-E194": Code(
        "A setting of another trainer would break the plan",
        "Gradient accumulation, shuffling or more steps than planned",
        "Change the setting that the message names.",
    ),
    "LP-E195": Code(
        "Another trainer did not train on the next step of the plan, or not on all of it",
        "The trainer skipped, repeated or cut a batch",
        "Do not trust the run; train again from a checkpoint before the step that the message names.",
    ),
    "LP-E196": Code(
        "The files of a plan are damaged, or another plan was expected",
        "The folder was edited or replaced",
        "Build the plan again, or give its folder.",
    ),
    "LP-E197": Code(
        "An audit log cannot be continued",
        "The log belongs to another checkpoint or plan",
        "Restore the log of the checkpoint, or give another name.",
    ),
    "LP-E198": Code(
        "Another trainer cannot follow this plan or read this data",
        "The plan's mode or the form of the data",
        "Build another plan, or encode the data before.",
    ),
    "LP-E200": Code(
        "A row in memory is not a row of lengths or token ids",
        "Another form of tuple, or rows of different forms",
        "Give rows of the form that the message names.",
    ),
    "LP-E201": Code(
        "A length cache in memory lacks members of its rows",
        "Rows with `parts`, which a cache does not keep",
        "Write the rows by `LengthsWriter`.",
    ),
    "LP-E206": Code(
        "The exporter of another package cannot be loaded",
        "A broken or old package, or two packages with the same name of an exporter",
        "Update or uninstall the package that the message names.",
    ),
    "LP-E207": Code(
        "The exporter of another package failed or gave no Python file",
        "An error in that package",
        "Update or uninstall the package that the message names.",
    ),
    "LP-E208": Code(
        "No exporter has this name",
        "A typing error, or a package that is not installed",
        "Choose one that the message lists, or install the package that provides it.",
    ),
    "LP-E220": Code("A file or folder does not exist", "A typing error in a path", "Correct the path."),
    "LP-E221": Code(
        "The operating system refuses a file or folder",
        "No permission, no space, or a path that leads through a file",
        "Choose another path, or correct what the message names.",
    ),
    "LP-E222": Code(
        "There is not enough memory, or not enough files or threads may be open",
        "Other programs, or a limit of the shell",
        "Close other programs, or raise the limit with `ulimit`.",
    ),
    "LP-W201": Code(
        "Much of the plan is padding", "Long rows with few samples each", "Choose another row length or token budget."
    ),
    "LP-W202": Code("Many samples are cut", "A row length far below many samples", "Choose a longer row."),
    "LP-W203": Code(
        "Steps cost unevenly",
        "A budget of few rows with samples of very different lengths",
        "Choose a larger token budget.",
    ),
    "LP-W204": Code(
        "Samples repeat often", "Many epochs, or a small source with a large weight", "Plan fewer epochs or repeats."
    ),
    "LP-W205": Code(
        "A fingerprint is missing",
        "Lengths without a header",
        "Build lengths with `lazarus_tokenkit.build_lengths` (command line: `lazarus data lengths build`).",
    ),
    "LP-E230": Code(
        "The settings of a rebased plan do not give the plan again",
        "`--config` with the metadata.json of a rebased plan",
        "Rebase the parent again, or give the settings of a plan that was not rebased.",
    ),
    "LP-W206": Code(
        "Data was not compared", "No data file was given", "Give the data files that the length caches were built from."
    ),
}
