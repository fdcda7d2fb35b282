"""The meaning, usual cause and way out of every code of lazarus-train."""

from lazarus_core.codes import Code

CODES = {
    "LR-E101": Code(
        "The model cannot train on packed rows",
        "A recurrent, chunked or absolutely positioned model",
        "Plan one sample per row: `mode` padded.",
    ),
    "LR-E102": Code(
        "The data has token ids outside the model's vocabulary",
        "The tokenizer of another model",
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
        "Give these samples a completion, or plan with a larger `token_budget`.",
    ),
    "LR-E105": Code(
        "The number of data files differs from the plan's sources",
        "A source is missing",
        "Give one data file for each source, in the plan's order.",
    ),
    "LR-E106": Code(
        "Another process trains in this folder",
        "A run was started twice",
        "Wait until it ends, or choose another `output`.",
    ),
    "LR-E107": Code(
        "A folder is not a run, or has no step yet",
        "A wrong path, or a run that has just begun",
        "Give the folder of a run.",
    ),
    "LR-E108": Code("The output folder has files that no run wrote", "A wrong path", "Choose another `output`."),
    "LR-E109": Code(
        "The checkpoint belongs to another run's folder",
        "`resume` names a checkpoint of another run",
        "Copy that run's folder and give the copy as `output`.",
    ),
    "LR-E110": Code("Held-out data has no token with loss", "Rows without a completion", "Give other held-out data."),
    "LR-E111": Code(
        "A finished run has no checkpoints", "They were deleted", "Choose another `output`, or set `resume` to `none`."
    ),
    "LR-E112": Code(
        "The run has done more steps than requested",
        "`max_steps` was lowered",
        "Raise `max_steps`, or resume from an older checkpoint.",
    ),
    "LR-E113": Code(
        "An input of a run is missing",
        "Files were moved or deleted",
        "Give the current location in the field that the message names.",
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
        "A quantized model can train adapters only",
        "The settings train all weights",
        "Set `lora`, or use the unquantized model.",
    ),
    "LR-E117": Code("A held-out data file does not exist", "A wrong path", "Correct the path."),
    "LR-E118": Code(
        "A sample prompt cannot be encoded, or a run is too old to verify",
        "A prompt that the template refuses, or a run of an earlier version",
        "Correct the prompt, or train again.",
    ),
    "LR-E119": Code(
        "The plan was rebased at a step without a checkpoint",
        "The run saves less often",
        "Rebase after one of the steps that the message lists.",
    ),
    "LR-E120": Code(
        "A pattern of `rate_factors` matches no parameter, or `audit_head` is malformed",
        "A typing error",
        "Correct the value that the message names.",
    ),
    "LR-E121": Code(
        "A pattern of `freeze` matches no parameter", "A typing error", "Use names such as the message shows."
    ),
    "LR-E122": Code("Everything is frozen", "`freeze` matches all parameters", "Leave some parameters trainable."),
    "LR-E124": Code(
        "Mixed precision is not possible for this model on a CPU",
        "On a CPU MLX multiplies stacks of experts in float32 only",
        "Set `mixed_precision` to false.",
    ),
    "LR-E125": Code(
        "The run needs more memory than is available",
        "Long rows, many rows at once, or a large model",
        "Follow the way out in the message.",
    ),
    "LR-E131": Code("A target of regression is not a finite number", "Text in the answer", "Correct the row."),
    "LR-E132": Code(
        "The data are pairs of answers",
        "A preference data set given to another objective",
        "Train with objective `preference` or `reward`.",
    ),
    "LR-E133": Code(
        "The mask token occurs in the data", "`mask_id` is an ordinary token", "Choose a token that does not occur."
    ),
    "LR-E134": Code(
        "The plan cuts a sample that must be whole",
        "The plan was built with `oversize` truncate or split",
        "Plan with `oversize` error or exclude.",
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
        "The model was trained for other classes",
        "Use a model with the number that the message names.",
    ),
    "LR-E141": Code(
        "The tensors of a head differ from their description",
        "A damaged file, or a file of another program",
        "Fetch or train the model again.",
    ),
    "LR-E142": Code(
        "Stored reference log-probabilities belong to other data",
        "The data changed",
        "Remove the folder; the run computes them again.",
    ),
    "LR-E150": Code(
        "The run started with another plan",
        "Settings or data changed",
        "Give the same settings or another `output`, or set `resume` to `none`.",
    ),
    "LR-E151": Code(
        "The run started from another model",
        "Settings changed",
        "Give the same settings or another `output`, or set `resume` to `none`.",
    ),
    "LR-E160": Code("A sweep would replace a file that no sweep wrote", "A wrong path", "Choose another folder."),
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
    "LR-E184": Code("An override has no name or no value", "The equals sign is missing", "Give it as `NAME=VALUE`."),
    "LR-E185": Code(
        "The settings belong to another command",
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
        "The optimizer state does not match the model",
        "Another model or optimizer",
        "Resume with the settings of the run.",
    ),
    "LR-E204": Code(
        "The final model is missing, or differs from the model that the run wrote",
        "Files were changed or deleted",
        "Run the same training command; it writes the model again.",
    ),
    "LR-E205": Code(
        "The moving average does not match the model", "Another model", "Resume with the settings of the run."
    ),
    "LR-E206": Code(
        "Stored reference log-probabilities are damaged",
        "Files were changed",
        "Remove the folder; the run computes them again.",
    ),
    "LR-E207": Code(
        "A checkpoint differs from the audit log", "Files were changed or deleted", "Do not trust the checkpoint."
    ),
    "LR-E208": Code("A log of the run was changed", "A file was edited", "Do not trust the log."),
    "LR-E209": Code(
        "`latest` or `best` points to the wrong checkpoint", "Links were changed", "Run the same training command."
    ),
    "LR-E210": Code(
        "A checkpoint belongs to other settings, plan or model",
        "Settings changed",
        "Give the same settings or another `output`, or set `resume` to `none`.",
    ),
    "LR-E211": Code(
        "The initial model of the run changed",
        "Files of the model were edited",
        "Restore the model, or give its current location as `model`.",
    ),
    "LR-E213": Code("Held-out rows changed since they were measured", "The file was edited", "Restore the file."),
    "LR-E214": Code("The settings file of the run was changed", "config.json was edited", "Restore it."),
    "LR-E215": Code(
        "The audit head differs from the expected one",
        "The run was edited, or it continued",
        "Compare with the recorded head.",
    ),
    "LR-E216": Code(
        "A shard, rows of images, their manifest, or a source of the data of a run was changed",
        "An edit, a new download, or another build of the corpus",
        "Restore what the message names, or build the data, lengths and plan again.",
    ),
    "LR-E217": Code(
        "Sources are given, and the data of the run are of no corpus and no images",
        "Lengths of other files, or of an earlier version",
        "Leave `--sources` out, or build lengths of the shards and plan again.",
    ),
    "LR-E220": Code(
        "Loss or gradient is NaN or infinite",
        "A learning rate that is too high, or broken rows",
        "Resume with a lower learning rate, or check the rows that the message names.",
    ),
    "LR-E221": Code(
        "Weights are NaN or infinite after a step",
        "A learning rate that is too high",
        "Train again with a lower learning rate.",
    ),
    "LR-E230": Code("The run was stopped on request", "Ctrl-C or SIGTERM", "Run the same command to continue."),
    "LR-E240": Code(
        "Another process of the run ended",
        "A crash or a lost machine",
        "Run the same command to continue from the newest checkpoint.",
    ),
    "LR-E250": Code(
        "The reward or the environment of a run is not there",
        "A wrong name, a wrong path, or a package that is not installed",
        "Give a name that the message lists, a .toml file or MODULE:FUNCTION, or install the package.",
    ),
    "LR-E251": Code(
        "A reward or an environment does not have the form that a run needs",
        "A package or a module with other names or results",
        "Give the object a method `score` with one verdict for each answer, or update its package.",
    ),
    "LR-E252": Code(
        "A sample has no prompt to answer, or a field that does not fit",
        "A pair of answers, a document, a conversation that begins with its answer, or a row without the fields of the settings",
        "Give rows with `prompt`, or with `messages` that begin with the user, and correct the field that the message names.",
    ),
    "LR-E253": Code(
        "The chat template does not fit a conversation with an environment",
        "A template that changes an earlier answer when a message follows it",
        "Give another template, such as chatml.",
    ),
    "LR-E254": Code(
        "The run has no roll-outs to draw again",
        "A run of another objective, or one whose checkpoints were removed",
        "Use `replay` on runs of `train grpo` and `train ppo` that keep checkpoints.",
    ),
    "LR-E255": Code(
        "An answer differs when it is drawn again from the weights before its step",
        "The roll-outs or the weights were edited, or another machine computes other bits",
        "Repeat it on the machine of the run; if it still differs, do not trust the run.",
    ),
    "LR-E280": Code(
        "The time box of a run ended before the run",
        "`run_for` or `stop_at` was reached; this is no failure, and the exit code is 0",
        "Run the same command to continue, in a new time box.",
    ),
    "LR-E281": Code(
        "The end of a time box is not in the coming year",
        "A date in the past or far ahead",
        "Give `stop_at` a time of day, or a date with a time within a year.",
    ),
    "LR-E290": Code(
        "A cleanup would remove the newest checkpoint", "`keep` is below 1", "Keep at least one checkpoint."
    ),
    "LR-E282": Code(
        "No shape has about the wanted number of parameters",
        "A number that is small for the vocabulary, or very large",
        "Give another number of parameters or vocabulary size, a preset, or a model.",
    ),
    "LR-E283": Code(
        "A run has no measured speed", "It was interrupted in its first step", "Give the speed as `measured`."
    ),
    "LR-E284": Code(
        "The speed of training could not be measured",
        "Too little memory, or steps that take longer than the time limit",
        "Give the speed as `measured`, a `run` that has it, or shorter rows.",
    ),
    "LR-E285": Code(
        "A number of parameters or tokens cannot be read",
        "A misspelled unit, or a number out of range",
        "Give a number such as 23M, 1.5B or 460k.",
    ),
    "LR-E300": Code(
        "`label_dropout` is set, and the data are not images with labels that carry no loss",
        "Rows of texts, or rows of images that another program wrote",
        "Leave it out, or write the rows with `lazarus data images prepare`.",
    ),
    "LR-E301": Code(
        "`mask_id` is not the mask of the tokenizer of images",
        "The id of another tokenizer",
        "Give the id that `lazarus data images prepare` printed.",
    ),
    "LR-E302": Code(
        "`sample_images` is set, and the model cannot draw the images",
        "A tokenizer of texts, or a context that is too short",
        "Leave it out, or train on rows of `lazarus data images prepare`.",
    ),
    "LR-E270": Code(
        "Gradients of attention would not repeat in this process",
        "Attention in half precision was computed with cuDNN before training began",
        "Train in a new process, set MLX_CUDA_USE_CUDNN_SDPA=0 in its environment, or set `fast_nondeterministic`.",
    ),
    "LR-E271": Code(
        "MLX has already chosen how it multiplies float32 in this process, or the device has no TF32",
        "Two runs with different `tf32` in one process, or products before training began",
        "Train in a new process, or give `tf32` the value of the process.",
    ),
}
