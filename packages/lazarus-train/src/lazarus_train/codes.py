"""The meaning, usual cause and way out of every code of lazarus-train."""

from lazarus_core.codes import Code

CODES = {
    "LR-E101": Code(
        "The model cannot train on packed rows",
        "A recurrent, chunked or absolutely positioned model",
        "Plan with `--mode padded`.",
    ),
    "LR-E102": Code(
        "The data holds token ids that the model does not know",
        "Tokenizer and model do not belong together",
        "Use the tokenizer of the model.",
    ),
    "LR-E103": Code(
        "The checkpoint to resume from does not exist",
        "A wrong path",
        "Give `auto`, `none` or the folder of a checkpoint.",
    ),
    "LR-E104": Code(
        "A step has no token with loss",
        "Samples without a completion, or a small budget",
        "Give these samples a completion, or plan with a larger budget.",
    ),
    "LR-E105": Code(
        "The number of data files differs from the plan's sources",
        "A source is missing",
        "Give `--data` once for each source, in the plan's order.",
    ),
    "LR-E106": Code(
        "Another process trains in this folder", "A run was started twice", "Wait for it, or choose another output."
    ),
    "LR-E107": Code(
        "A folder is not a run, or has no step yet",
        "A wrong path, or a run that has just begun",
        "Give the folder of a run.",
    ),
    "LR-E108": Code(
        "The output folder holds something else", "The path names another folder", "Choose another output."
    ),
    "LR-E109": Code(
        "The checkpoint belongs to another run's folder",
        "`--resume` names a checkpoint of another run",
        "Copy that run's folder and give the copy as output.",
    ),
    "LR-E110": Code("Held-out data has no token with loss", "Rows without a completion", "Give other held-out data."),
    "LR-E111": Code(
        "A finished run has lost its checkpoints", "They were deleted", "Choose another output, or `--resume none`."
    ),
    "LR-E112": Code(
        "The run has done more steps than it should",
        "`--max-steps` was lowered",
        "Give a larger number, or resume from an older checkpoint.",
    ),
    "LR-E113": Code(
        "A part of a run is no longer at its place",
        "Files were moved",
        "Give the new place with the option that the message names.",
    ),
    "LR-E114": Code(
        "The processes of a run have different settings",
        "Different command lines or machines",
        "Start all processes with the same command.",
    ),
    "LR-E115": Code(
        "A process cannot join the run",
        "A launcher's variables without its other processes",
        "Start it with the launcher, or without its variables.",
    ),
    "LR-E116": Code(
        "A quantized model cannot be trained whole",
        "All weights were asked to learn",
        "Use `--use-lora`, or the unquantized model.",
    ),
    "LR-E117": Code("A held-out data file does not exist", "A wrong path", "Correct the path."),
    "LR-E118": Code(
        "A sample prompt cannot be encoded, or a run is too old to prove",
        "A prompt that the template refuses, or a run of an earlier version",
        "Correct the prompt, or train again.",
    ),
    "LR-E119": Code(
        "The plan was rebased at a step without a checkpoint",
        "The run saves less often",
        "Rebase after one of the steps that the message lists.",
    ),
    "LR-E120": Code(
        "A pattern of `rate_factors` matches nothing, or a head is malformed",
        "A typing error",
        "Correct the value that the message names.",
    ),
    "LR-E121": Code("A pattern of `freeze` matches nothing", "A typing error", "Use names such as the message shows."),
    "LR-E122": Code("Everything is frozen", "`freeze` matches all parameters", "Leave some parameters trainable."),
    "LR-E124": Code(
        "Mixed precision is not possible for this model on a CPU",
        "Experts multiply in float32 only there",
        "Set `mixed_precision` to false.",
    ),
    "LR-E125": Code(
        "The run needs more memory than there is",
        "Long rows, many rows at once, or a large model",
        "Follow the way out in the message.",
    ),
    "LR-E131": Code("A target of regression is not a number", "Text in the label", "Correct the row."),
    "LR-E132": Code(
        "The data are pairs of answers",
        "A preference data set given to another objective",
        "Train with `dpo` or `reward`.",
    ),
    "LR-E133": Code(
        "The mask token occurs in the data", "`mask_id` is an ordinary token", "Choose a token that does not occur."
    ),
    "LR-E134": Code(
        "The plan cuts a sample that must be whole",
        "`--oversize truncate` or `split`",
        "Plan with `--oversize error` or `exclude`.",
    ),
    "LR-E135": Code(
        "A sample is of another kind than the objective needs",
        "Another objective's data",
        "Give data of the kind that the message names.",
    ),
    "LR-E136": Code("An answer has no token with loss", "An empty answer", "Remove the row, or complete it."),
    "LR-E137": Code(
        "A label is not among the classes",
        "A typing error, or a class that was not listed",
        "Correct the row, or give all classes as `classes`.",
    ),
    "LR-E138": Code("All labels are the same", "One class in the data", "Give rows of several classes."),
    "LR-E139": Code("KTO needs two samples or more", "One sample in a step", "Give more samples."),
    "LR-E140": Code(
        "A head has another number of outputs",
        "The model was made for other classes",
        "Use a model with the number that the message names.",
    ),
    "LR-E141": Code(
        "The tensors of a head are not those described", "A damaged or foreign file", "Fetch or train the model again."
    ),
    "LR-E142": Code(
        "Stored reference log-probabilities do not fit",
        "The data changed",
        "Remove the folder; they are computed again.",
    ),
    "LR-E150": Code(
        "The run began with another plan",
        "Options or data changed",
        "Give the same options, another output, or `--resume none`.",
    ),
    "LR-E151": Code(
        "The run began with another model",
        "Options changed",
        "Give the same options, another output, or `--resume none`.",
    ),
    "LR-E160": Code("A file of a sweep is of another kind", "The path names another file", "Choose another output."),
    "LR-E170": Code("A logger is not installed", "The extra is missing", "Install the extra that the message names."),
    "LR-E171": Code(
        "There is no objective of this kind",
        "A typing error, or the package of the objective is not installed",
        "Give a kind that the message names, or install the package that provides it.",
    ),
    "LR-E172": Code(
        "The objective of another package cannot be used",
        "The package fails to import, registers something else, or two packages provide the kind",
        "Update or uninstall the package that the message names.",
    ),
    "LR-E180": Code(
        "A file of settings is not TOML",
        "A syntax error, or another kind of file",
        "Correct the line that the message names.",
    ),
    "LR-E181": Code(
        "A setting does not exist",
        "A misspelt name, or a name in the wrong table",
        "Use the name that the message proposes; `--print-config` lists all names.",
    ),
    "LR-E182": Code(
        "A setting has another type or range",
        "A text for a number, or a value beyond the limits",
        "Give a value of the kind that the message names.",
    ),
    "LR-E183": Code(
        "Settings contradict each other",
        "A setting needs another one, or has no effect with it",
        "Remove or add the setting that the message names.",
    ),
    "LR-E184": Code("A `--set` cannot be read", "The equals sign or the name is missing", "Give `--set NAME=VALUE`."),
    "LR-E185": Code(
        "The settings are those of another command",
        "A file of one training command was given to another",
        "Use the command that the message names.",
    ),
    "LR-E201": Code(
        "A checkpoint is damaged",
        "A disk error, or a file that was changed",
        "Resume from the checkpoint that the message names.",
    ),
    "LR-E202": Code("A checkpoint has another format", "Another version wrote it", "Upgrade, or train again."),
    "LR-E203": Code(
        "The optimizer state does not fit", "Another model or optimizer", "Resume with the settings of the run."
    ),
    "LR-E204": Code(
        "The final model is not what the run wrote",
        "Files were changed",
        "Run the same training command; it writes the model again.",
    ),
    "LR-E205": Code("The moving average does not fit", "Another model", "Resume with the settings of the run."),
    "LR-E206": Code(
        "Stored reference log-probabilities are damaged",
        "Files were changed",
        "Remove the folder; they are computed again.",
    ),
    "LR-E207": Code(
        "A checkpoint is not what the audit log binds", "Files were changed or deleted", "Do not trust the checkpoint."
    ),
    "LR-E208": Code("A log of the run was changed", "A file was edited", "Do not trust the log."),
    "LR-E209": Code("A link in the run folder leads elsewhere", "Files were moved", "Run the same training command."),
    "LR-E210": Code(
        "A checkpoint belongs to other settings, plan or model",
        "Options changed",
        "Give the same options, another output, or `--resume none`.",
    ),
    "LR-E211": Code(
        "The first model of the run changed",
        "Files of the model were edited",
        "Restore the model, or give its place now.",
    ),
    "LR-E213": Code("Held-out rows changed since they were measured", "The file was edited", "Restore the file."),
    "LR-E214": Code("The settings file of the run was changed", "config.json was edited", "Restore it."),
    "LR-E215": Code(
        "The audit head is not the expected one",
        "The run was edited, or went on",
        "Compare with the head that was written down.",
    ),
    "LR-E220": Code(
        "Loss or gradient is NaN or infinite",
        "A learning rate that is too high, or broken rows",
        "Resume with a lower learning rate, or look at the rows that the message names.",
    ),
    "LR-E221": Code(
        "Weights are NaN or infinite after a step",
        "A learning rate that is too high",
        "Train again with a lower learning rate.",
    ),
    "LR-E230": Code("The run was stopped on request", "Ctrl-C or SIGTERM", "The same command goes on."),
    "LR-E240": Code(
        "Another process of the run ended",
        "A crash or a lost machine",
        "The same command goes on from the newest checkpoint.",
    ),
}
