"""The meaning, usual cause and way out of every code of lazarus-corpus."""

from lazarus_core.codes import Code

CODES = {
    "LD-E100": Code("A source does not exist", "A wrong path", "Correct the path in the sources."),
    "LD-E101": Code(
        "A file has no known format, or a source has no files",
        "Another ending, or an empty folder",
        "Give `format`, or one of the endings that the message lists.",
    ),
    "LD-E102": Code("A text file is not UTF-8", "Another encoding", "Convert the file to UTF-8."),
    "LD-E103": Code("A row has no text", "The text has another name", "Name its field in `text_field`."),
    "LD-E104": Code(
        "A compressed file is damaged or has too long a line", "A download that was cut off", "Fetch it again."
    ),
    "LD-E105": Code("A WARC archive is damaged", "A download that was cut off", "Fetch it again."),
    "LD-E106": Code(
        "A row is of no known form, or not of the form that was asked for",
        "Another data set",
        "Name the form, or correct the row that the message names.",
    ),
    "LD-E107": Code("A conversation has no answer", "Another kind of row", "Remove the row, or name the form."),
    "LD-E108": Code(
        "A row is no preference", "Another kind of file", "Write rows with `prompt`, `chosen`, `rejected`."
    ),
    "LD-E109": Code("A token id is out of range", "Another tokenizer's vocabulary", "Give the vocabulary's size."),
    "LD-E110": Code(
        "No document is left",
        "Empty sources, or rules that fit no document",
        "Count with `analyze`, then change the rules that the message names.",
    ),
    "LD-E120": Code("A .zst file needs an extra", "The extra is not installed", "Install lazarus-corpus[zst]."),
    "LD-E121": Code("HTML and WARC need an extra", "The extra is not installed", "Install lazarus-corpus[web]."),
    "LD-E122": Code("Languages need an extra", "The extra is not installed", "Install lazarus-corpus[language]."),
    "LD-E123": Code(
        "Rules of published corpora need an extra", "The extra is not installed", "Install lazarus-corpus[rules]."
    ),
    "LD-E124": Code("An evaluation set does not exist or is empty", "A wrong path", "Correct the path."),
    "LD-E125": Code(
        "An executor needs an extra", "The extra is not installed", "Install the extra that the message names."
    ),
    "LD-E126": Code(
        "Sources are missing or given twice", "Neither or both of SOURCES.toml and -d", "Give one of them."
    ),
    "LD-E127": Code("A setting cannot be used", "A value out of range", "Correct the setting that the message names."),
    "LD-E128": Code("Both outputs are one file", "The same path twice", "Give two paths."),
    "LD-E129": Code(
        "A file of facts has another form, or a number is out of range",
        "A typing error",
        "Write categories of names with values, or of questions with answers.",
    ),
    "LD-E130": Code("The folder holds other files", "The path names another folder", "Choose another folder."),
    "LD-E131": Code(
        "An output would replace another file", "The path names another file", "Choose another path, or `--force`."
    ),
    "LD-E140": Code(
        "A file in the work folder was cut off",
        "A full disk, or another program",
        "Remove the work folder; build again.",
    ),
    "LD-E141": Code(
        "The folder is no corpus", "A wrong path, or a build that has not ended", "Build it, or correct the path."
    ),
    "LD-E142": Code("A manifest was changed", "An edit by hand", "Build the corpus again."),
    "LD-E143": Code("A shard is missing or changed", "A damaged disk, or an edit", "Build the corpus again."),
    "LD-E144": Code("The data card is missing", "A file was removed", "Build the corpus again."),
    "LD-E146": Code(
        "An executor failed",
        "A missing cluster, or an error of a task on another machine",
        "Read the logs that the message names; the same command goes on.",
    ),
    "LD-E147": Code(
        "The sources of a corpus are not given in full",
        "A corpus of several sources, or data of several corpora",
        "Give SOURCES.toml, or check each corpus by `lazarus data corpus verify`.",
    ),
    "LD-E148": Code(
        "Another process builds the same output", "Two builds at once", "Wait for it, or choose another output."
    ),
    "LD-E149": Code("The folder is not a run", "A wrong path", "Give the folder of a run of `lazarus train`."),
    "LD-E150": Code(
        "Data or plan of a run are missing", "They were moved", "Give their present locations with -d and --batch-plan."
    ),
    "LD-E151": Code(
        "Packed rows cannot be written in this form",
        "A missing pyarrow, or Megatron's files cannot hold a loss mask",
        "Choose another form: Parquet, or a folder of arrays.",
    ),
    "LD-E145": Code(
        "An indexed data set is missing or damaged",
        "Another file, or a copy that was cut off",
        "Copy both files again.",
    ),
}
