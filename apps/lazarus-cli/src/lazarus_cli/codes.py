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
    "LC-E200": Code("There is no such recipe", "A typing error", "Give a file, or the name of a shipped recipe."),
    "LC-E201": Code(
        "A stage type is unknown, or its package cannot be used",
        "A typing error, or a broken plug-in",
        "Correct `type`; update or uninstall the package that the message names.",
    ),
    "LC-E202": Code(
        "A recipe has no stages, or one without a type or with an unfit name",
        "A typing error in the name of a table",
        "Give the stage a `type`, or correct its name.",
    ),
    "LC-E203": Code(
        "A stage reads something that does not exist or is of another kind",
        "A typing error, or a file that was not given",
        "Correct the name, or give the file in `data`.",
    ),
    "LC-E204": Code("Stages read each other in a circle", "A wrong name", "Correct one of the names in the message."),
    "LC-E205": Code("Data of a recipe cannot be read", "A wrong path", "Correct the path in `data`."),
    "LC-E206": Code(
        "No stage uses a name in `data`", "A typing error, or a removed stage", "Remove it, or name it in a stage."
    ),
    "LC-E207": Code(
        "A stage reads one that is left out",
        "The data of the other stage were not given",
        "Give the data, or leave out this stage as well (`only_with`).",
    ),
    "LC-E208": Code("There is no such profile", "A typing error", "Give a profile of the recipe."),
    "LC-E209": Code(
        "Settings of a stage contradict each other", "See the message", "Correct the settings that it names."
    ),
    "LC-E210": Code("The folder of a recipe cannot be used", "It holds other files", "Give another folder."),
    "LC-E211": Code("Another process runs a recipe in this folder", "A second run", "Wait for it."),
    "LC-E212": Code(
        "An output of a finished stage was changed",
        "Somebody edited or removed a file",
        "Put the file back, or run the stage again with --force.",
    ),
    "LC-E213": Code(
        "A stage before the first one asked for is not finished",
        "Its settings or inputs changed, or it never ran",
        "Begin with that stage.",
    ),
    "LC-E214": Code("A recipe has no such stage", "A typing error", "Give the name of a stage."),
    "LC-E215": Code("An existing tokenizer is not the expected one", "Another version of it", "Give that tokenizer."),
    "LC-E216": Code("The record of a stage is damaged", "An edited file", "Remove it; the stage runs again."),
    "LC-E217": Code("Held-out rows are empty", "A small corpus", "Raise `split.validation` of the corpus."),
    "LC-E221": Code(
        "A recipe differs from its lock",
        "Changed settings, data, packages or outputs",
        "Run the recipe to write the lock anew, or undo the change.",
    ),
    "LC-E222": Code(
        "A stage made something else than the lock says",
        "Another machine, whose numbers differ",
        "Run without --locked to write the lock anew.",
    ),
    "LC-E223": Code("A lock cannot be read", "It is absent, damaged or of a later version", "Run the recipe."),
    "LC-E224": Code("A lock needs finished stages", "A stage was not run, or changed", "Run the recipe."),
    "LC-E270": Code(
        "A folder cannot be searched for runs and other artifacts",
        "It is absent or a file, or it has too many folders",
        "Give the folder of the runs.",
    ),
    "LC-E250": Code(
        "A folder is not that of a recipe, or no stage has begun", "A wrong path", "Give the folder of `lazarus run`."
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
