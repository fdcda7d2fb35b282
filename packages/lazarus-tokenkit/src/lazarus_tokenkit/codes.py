"""The meaning, usual cause and way out of every code of lazarus-tokenkit."""

from lazarus_core.codes import Code

CODES = {
    "LT-E101": Code(
        "No tokenizer has this name or lies at this path",
        "A typing error, or a folder without tokenizer files",
        "Give a folder with `tokenizer.json`, a file, a hub name, or a built-in name such as `byte`.",
    ),
    "LT-E102": Code(
        "The file of an OpenAI encoding is not on this machine",
        "The machine has no network, or the file was never fetched",
        "Put the file in the folder that the message names.",
    ),
    "LT-E103": Code(
        "The hub does not have this tokenizer, or cannot be reached",
        "A wrong name, no network, or a gated repository",
        "Fetch it where there is a network, or give a folder.",
    ),
    "LT-E110": Code(
        "A tokenizer file is damaged or has another structure",
        "A cut-off download, or a file edited by hand",
        "Fetch the file again, or correct the member that the message names.",
    ),
    "LT-E111": Code(
        "The tokenizer is random", "BPE dropout is switched on in `tokenizer.json`", 'Set `"dropout": null`.'
    ),
    "LT-E112": Code(
        "A special token is not a special token of the vocabulary",
        "`tokenizer_config.json` and `tokenizer.json` are of different versions",
        'Add the token to `added_tokens` with `"special": true`.',
    ),
    "LT-E113": Code(
        "An encoding file is not the published one",
        "A cut-off download, or another version",
        "Fetch the file again; its digest is compared.",
    ),
    "LT-E114": Code(
        "A tokenizer is incomplete or is not byte-level",
        "`vocab.json` or `merges.txt` is missing or belongs to another tokenizer",
        "Give both files of one tokenizer, or its `tokenizer.json`.",
    ),
    "LT-E115": Code(
        "A kind of SentencePiece model that is not read",
        "A word model, or an unusual whitespace mark",
        "Use a BPE, unigram or char model.",
    ),
    "LT-E116": Code(
        "The tokenizer library cannot encode a text",
        "A vocabulary without byte fallback or unknown token",
        "Run `lazarus tokenizer doctor`, or use another tokenizer.",
    ),
    "LT-E117": Code("A tokenizer cannot be repaired", "`tokenizer.json` cannot be opened", "Fetch the file again."),
    "LT-E118": Code(
        "The folder for a tokenizer holds something else", "The path names another folder", "Choose another folder."
    ),
    "LT-E119": Code(
        "A special token cannot be registered",
        "The text is taken, empty or has white space",
        "Choose another text or purpose.",
    ),
    "LT-E121": Code(
        "A text cannot be encoded",
        "It is not a `str`, or it holds half of a surrogate pair",
        'Clean the text, or decode it with `errors="replace"`.',
    ),
    "LT-E201": Code(
        "No chat template has this name, or the tokenizer has none",
        "A base model has no template",
        "Choose a built-in template, such as `chatml`, or give a Jinja file.",
    ),
    "LT-E202": Code(
        "A template needs special tokens that the tokenizer lacks",
        "The template belongs to another family of models",
        "Choose another template, or add the tokens with `doctor --fix`.",
    ),
    "LT-E203": Code(
        "A chat template is malformed",
        "A syntax error in Jinja, or a file that is not UTF-8",
        "Correct the line that the message names.",
    ),
    "LT-E204": Code(
        "A chat template refuses the conversation",
        "Roles in an order that the template does not accept",
        "Correct the order of the roles, or choose another template.",
    ),
    "LT-E205": Code(
        "The spans with loss cannot be found in the rendered conversation",
        "The template changes the text of answers",
        "Use a template that passes contents on, such as `chatml`.",
    ),
    "LT-E206": Code(
        "A text uses all noncharacters of Unicode", "The data is binary", "Remove the characters U+FDD0 to U+FDEF."
    ),
    "LT-E207": Code(
        "A template leaves out a part of the conversation",
        "The template does not render tools or the system message",
        "Use a template that renders it, such as `chatml-tools`.",
    ),
    "LT-E208": Code("A pinned date is not a date", "A typing error", "Write the date as 2026-01-31."),
    "LT-E301": Code(
        "The field names select several kinds of samples",
        "Options for text, messages and prompts were mixed",
        "Name the fields of one kind.",
    ),
    "LT-E302": Code(
        "A saved data set has several splits", "The path names the whole data set", "Give the folder of one split."
    ),
    "LT-E303": Code("The data has no rows", "An empty file, or a filter that removed all", "Give another file."),
    "LT-E304": Code(
        "A blank line stands between rows", "An editor, or files that were joined", "Remove the blank lines."
    ),
    "LT-E305": Code(
        "A line is not JSON", "A cut-off line, or another format", "Correct the line that the message names."
    ),
    "LT-E306": Code(
        "A line has an encoding that is not read",
        "The file is UTF-16, or has a byte order mark inside",
        "Save the file as UTF-8.",
    ),
    "LT-E307": Code(
        "A row is not an object, or a file is not a list of rows",
        "The file has another structure",
        "Write one JSON object a line.",
    ),
    "LT-E308": Code(
        "A data file is malformed",
        "Two columns with one name, or a cut-off file",
        "Write the file again, or leave out the column that the message names.",
    ),
    "LT-E309": Code(
        "A data set cannot be opened",
        "A missing extra, a wrong name, or no network",
        "Install the extra that the message names, or give a file.",
    ),
    "LT-E310": Code(
        "No known fields were found in the first row",
        "The data uses other field names",
        "Name the fields, such as `--prompt-field question --completion-field answer`.",
    ),
    "LT-E311": Code("A row lacks a field", "Rows of different kinds in one file", "Add the field, or remove the row."),
    "LT-E312": Code(
        "A field has a value of another type",
        "A number or list where text is expected",
        "Correct the row that the message names.",
    ),
    "LT-E313": Code(
        "A message has members or roles that are not read",
        "A format of another tool",
        "Convert the messages to `role` and `content`.",
    ),
    "LT-E314": Code(
        "Two rows have the same id", "Files that were joined, or rows that were copied", "Give every row its own id."
    ),
    "LT-E315": Code(
        "A row cannot be encoded, or an output names an input",
        "A row that the template refuses, or a wrong path",
        "Correct the row, or choose another output.",
    ),
    "LT-E316": Code(
        "A data file is outside the bounds of the reader",
        "The file is not what it seems",
        "Split the file, or check that it is the right one.",
    ),
    "LT-E317": Code(
        "An answer would be read as part of nothing",
        "The answer has a field name that is not known",
        "Name the field of the answer, or remove it to read prompts alone.",
    ),
    "LT-E401": Code(
        "The tokenizer is not the one whose fingerprint was saved",
        "Another version or another tokenizer",
        "Use the tokenizer of the fingerprint, or save the fingerprint again.",
    ),
    "LT-E402": Code(
        "A fingerprint file cannot be used",
        "It is missing, damaged or of another version",
        "Write it again with `fingerprint --save`.",
    ),
    "LT-E501": Code(
        "A text or id given to the command cannot be used",
        "Standard input is closed, not UTF-8, or an id is out of range",
        "Correct the input that the message names.",
    ),
    "LT-E502": Code(
        "A conversation file is not a conversation",
        "The file holds something else",
        "Give a list of messages, or an object with `messages`.",
    ),
    "LT-E503": Code(
        "An output would replace something else", "The path names another file", "Choose another path, or `--force`."
    ),
    "LT-E504": Code(
        "A build of lengths cannot go on",
        "Another process builds the same output, or its resume file was changed",
        "Wait for the other process, or start again.",
    ),
    "LT-E601": Code("There is nothing to analyse", "An empty corpus or length cache", "Give data with rows."),
    "LT-E602": Code("A fit needs two documents or more", "The corpus has one document", "Give more documents."),
    "LT-E701": Code(
        "An encoding engine is not installed", "The extra is missing", "Install the extra that the message names."
    ),
    "LT-E801": Code(
        "SentencePiece is not installed", "The extra is missing", "Install `lazarus-tokenkit[sentencepiece]`."
    ),
    "LT-E802": Code(
        "SentencePiece refuses the training",
        "The vocabulary size does not suit the corpus",
        "Change the setting that the message names.",
    ),
    "LT-E803": Code("There is nothing to train a tokenizer on", "The data has no text", "Give data with text."),
    "LT-E901": Code(
        "A regression suite cannot be read",
        "A missing file, or malformed YAML",
        "Correct the file that the message names.",
    ),
    "LT-E902": Code(
        "An entry of a regression suite is wrong",
        "A missing or unknown member",
        "Correct the entry that the message names.",
    ),
}
