"""The meaning, usual cause and way out of every code of lazarus-cli."""

from lazarus_core.codes import Code

CODES = {
    "LC-E100": Code(
        "The package of this command is not installed",
        "A partial installation",
        "Install the package that the message names.",
    ),
    "LC-E101": Code(
        "No installed package defines this code",
        "A typing error, or a package that is not installed",
        "Check the code; install the package whose prefix it has.",
    ),
    "LC-E102": Code(
        "Two packages define the same code", "A plug-in with a foreign prefix", "Remove or correct the plug-in."
    ),
    "LC-E110": Code(
        "The folder for the quickstart cannot be used", "It exists or is a file", "Choose another with -o."
    ),
    "LC-E111": Code(
        "A training of the quickstart ended early", "See the message", "Correct the problem that the message names."
    ),
    "LC-E112": Code(
        "The resumed run differs from the straight one",
        "A fault of the machine or of Lazarus",
        "Report it with both folders.",
    ),
    "LC-E120": Code(
        "A benchmark is slower than its baseline", "A regression, or a busy machine", "Run it again on a quiet machine."
    ),
    "LC-E121": Code("The data of a benchmark has no rows", "An empty file", "Give data with rows."),
    "LC-E122": Code("The longest sample exceeds the token budget", "A budget that is too small", "Raise -b."),
    "LC-E123": Code("The bucket edges end below the longest sample", "An edge is missing", "Add a longer edge."),
    "LC-E124": Code("A report is not of this version", "An older benchmark", "Measure the baseline again."),
    "LC-E125": Code(
        "The baseline measured other work",
        "Other data or settings",
        "Measure the baseline with the same data and settings.",
    ),
    "LC-E126": Code("An output of a benchmark cannot be used", "The path names another file", "Choose another path."),
    "LC-E150": Code(
        "The shell that shell completion is for is not known",
        "The command was started by another program than a shell",
        "Run it from bash, zsh, fish or PowerShell.",
    ),
    "LC-E270": Code(
        "A folder cannot be searched for runs and other artifacts",
        "It is absent or a file, or it has too many folders",
        "Give the folder of the runs.",
    ),
    "LC-E271": Code(
        "What should be copied is no artifact",
        "A file, or a folder with other content",
        "Give the folder of a run, recipe, corpus, plan, model or tokenizer.",
    ),
    "LC-E272": Code(
        "An artifact has a file that cannot be copied",
        "A link or name that leads out of its folder, a special file, a name that is not UTF-8, or too many files",
        "Remove or rename the file that the message names.",
    ),
    "LC-E273": Code(
        "A copy would replace something, or another process writes it",
        "The output exists",
        "Choose another name, or wait for the other process.",
    ),
    "LC-E274": Code("The disk has too little room for a copy", "A full disk", "Make room, or choose another disk."),
    "LC-E275": Code(
        "A file or folder is no copy with a list of files",
        "Another file, or a copy that was damaged or edited",
        "Give what `lazarus backup` or `lazarus push` wrote; make the copy again if it is damaged.",
    ),
    "LC-E276": Code(
        "A copy differs from its list of files",
        "A disk error, an edit, or a file that changed while it was copied",
        "Make the copy again; nothing was put in place.",
    ),
    "LC-E277": Code(
        "A package for the form of an archive is not installed",
        "The extra `zst` is missing",
        "Install `lazarus-cli[zst]`, or name the archive .tar or .tar.gz.",
    ),
    "LC-E278": Code(
        "A place to copy to or from cannot be used",
        "An address of another form than a folder, `file://` or `hf://`",
        "Give a folder, `file:///FOLDER` or `hf://OWNER/NAME`.",
    ),
    "LC-E279": Code(
        "The Hugging Face hub refuses or cannot be reached",
        "A wrong name, no connection, or no permission",
        "Correct the name or the connection, or log in by `hf auth login` or HF_TOKEN.",
    ),
    "LC-E290": Code(
        "A host, folder, session or file of `lazarus remote` cannot be used",
        "A typing error, or a word that ssh, rsync or tmux would read as something else",
        "Correct it as the message says; put ports and keys into ~/.ssh/config.",
    ),
    "LC-E291": Code(
        "A command of `lazarus remote` failed or is not installed",
        "See the lines of the command above",
        "Correct the problem that it named, and run the step again.",
    ),
}
