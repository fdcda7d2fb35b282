"""The meaning, usual cause and way out of every code of lazarus-tokenkit."""

from lazarus_core.codes import Code

CODES = {
    "LT-E101": Code(
        "No tokenizer has this name or path",
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
        "Download it on a machine with a network, or give a folder.",
    ),
    "LT-E110": Code(
        "A tokenizer file is damaged or has another structure",
        "An incomplete download, or a file edited by hand",
        "Fetch the file again, or correct the member that the message names.",
    ),
    "LT-E111": Code(
        "The tokenizer's encoding is random", "BPE dropout is switched on in `tokenizer.json`", 'Set `"dropout": null`.'
    ),
    "LT-E112": Code(
        "A declared bos, eos, pad or unk token is missing from the vocabulary or is not special",
        "`tokenizer_config.json` and `tokenizer.json` belong to different versions",
        'Add the token to `added_tokens` with `"special": true`.',
    ),
    "LT-E113": Code(
        "The rank file of an OpenAI encoding is not the published one",
        "An incomplete download, or another version",
        "Fetch the file again; its digest is compared.",
    ),
    "LT-E114": Code(
        "A tokenizer is incomplete or is not byte-level",
        "`vocab.json` or `merges.txt` is missing or belongs to another tokenizer",
        "Give both files of one tokenizer, or its `tokenizer.json`.",
    ),
    "LT-E115": Code(
        "The type of a SentencePiece model is not supported",
        "A word model, or white space that is a suffix or is not escaped",
        "Use a BPE, unigram or char model.",
    ),
    "LT-E116": Code(
        "The tokenizer library cannot encode a text",
        "A vocabulary without byte fallback or unknown token",
        "Run `lazarus tokenizer doctor`, or use another tokenizer.",
    ),
    "LT-E117": Code("A tokenizer cannot be repaired", "`tokenizer.json` cannot be opened", "Fetch the file again."),
    "LT-E118": Code(
        "The output folder for a tokenizer exists", "The path names an existing folder", "Choose another folder."
    ),
    "LT-E119": Code(
        "A special token cannot be registered",
        "The purpose or text is in use, or the text is empty or has white space at an end",
        "Choose another text or purpose.",
    ),
    "LT-E121": Code(
        "A text cannot be encoded",
        "It is not a `str`, or it contains half a surrogate pair",
        'Clean the text, or decode it with `errors="replace"`.',
    ),
    "LT-E201": Code(
        "No chat template has this name, or the tokenizer has none",
        "A base model has no template",
        "Choose a built-in template, such as `chatml`, or give a Jinja file.",
    ),
    "LT-E202": Code(
        "A template needs special tokens that the tokenizer lacks",
        "The template belongs to another model family",
        "Choose another template, or a tokenizer with these tokens.",
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
        "The template does not determine which tokens carry loss",
        "The template changes earlier turns when more turns follow, or its generation prompt is not how answers begin",
        "Use a template with `{% generation %}` blocks; for earlier turns that change, give one answer a sample.",
    ),
    "LT-E206": Code(
        "A sample contains all noncharacters U+FDD0 to U+FDEF", "The data is binary", "Remove these characters."
    ),
    "LT-E207": Code(
        "A template leaves out the tools, the tool calls or the reasoning",
        "The template does not support them",
        "Use a template that renders them, such as `chatml-tools` for tools.",
    ),
    "LT-E208": Code("A pinned date is not a date", "A typing error", "Write the date as 2026-01-31."),
    "LT-E220": Code(
        "Every row has equal chosen and rejected answers",
        "A wrong name of a field, or two models that gave the same answers",
        "Check the names of the fields, or give other data.",
    ),
    "LT-E301": Code(
        "The field names select several kinds of samples",
        "Options for text, messages and prompts were mixed",
        "Name the fields of one kind.",
    ),
    "LT-E302": Code(
        "A data path cannot be read, or a saved data set has several splits",
        "A missing file, an unknown suffix, a folder without data, or an incomplete gzip file",
        "Give a data file, or the folder of one split.",
    ),
    "LT-E303": Code("The data has no rows", "An empty file, or a filter that removed all", "Give another file."),
    "LT-E304": Code(
        "A blank line is between rows, or too many blank lines are at the end",
        "An editor, or files that were joined",
        "Remove the blank lines.",
    ),
    "LT-E305": Code(
        "A data file is not UTF-8",
        "The file is UTF-16 or Latin-1, or it contains half a surrogate pair",
        "Save the file as UTF-8.",
    ),
    "LT-E306": Code(
        "A row or a file is not JSON", "A truncated line, or another format", "Correct the line that the message names."
    ),
    "LT-E307": Code(
        "A row is not an object, or a file is not a list of rows",
        "The file has another structure",
        "Write one JSON object a line.",
    ),
    "LT-E308": Code(
        "A data file is malformed",
        "Two columns with one name, an incomplete file, or malformed CSV or Parquet",
        "Write the file again, or remove the column that the message names.",
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
        "A message, a tool call or an answer has an unsupported form",
        "The format of another tool, or a conversation without an answer",
        "Convert the messages to `role` and `content`, and end with an answer.",
    ),
    "LT-E314": Code(
        "Two rows have the same id", "Files that were joined, or rows that were copied", "Give every row its own id."
    ),
    "LT-E315": Code(
        "An output would overwrite the data, or a text already contains the token of a structure",
        "A wrong output path, or data that was prepared before",
        "Choose another output, or remove the token from the text.",
    ),
    "LT-E316": Code(
        "A row or a file is larger than the reader's limit",
        "A very long document, or a file without line feeds",
        "Split the row or the file.",
    ),
    "LT-E317": Code(
        "A row would be read as a prompt without its answer",
        "The field of the answer has an unknown name",
        "Name the field of the answer, or remove it to read prompts without answers.",
    ),
    "LT-E320": Code(
        "The suffix of a file of encoded samples is unknown",
        "A suffix other than `.jsonl` and `.parquet`",
        "Name the file `.jsonl` or `.parquet`.",
    ),
    "LT-E321": Code(
        "Parquet cannot be written",
        "The package pyarrow is not installed",
        "Install lazarus-tokenkit[parquet], or name the file `.jsonl`.",
    ),
    "LT-E322": Code(
        "The reader of another package cannot be loaded",
        "The package is damaged, or its entry point is not a function",
        "Install the package that the message names again.",
    ),
    "LT-E323": Code(
        "The reader of another package failed or gave an invalid row",
        "A damaged data file, or a fault of the package",
        "Check the file, or report the fault to the package that the message names.",
    ),
    "LT-E324": Code(
        "Two packages read files of one suffix",
        "Both registered the suffix in `lazarus.readers`",
        "Uninstall one of the packages that the message names.",
    ),
    "LT-E325": Code(
        "A shard of a corpus is not as the corpus's manifest says",
        "A damaged disk, an edit, or a file that was added to the folder",
        "Check the corpus with `lazarus data corpus verify`, and build it again.",
    ),
    "LT-E326": Code(
        "A row of token ids has a field that is not as it must be",
        "Labels that are shifted, padding, or a mask of another length",
        "Correct the field that the message names.",
    ),
    "LT-E327": Code(
        "A sample of token ids has no text",
        "An analysis of texts was asked for",
        "Give the data that the ids were made from.",
    ),
    "LT-E328": Code(
        "A token id is not in the vocabulary", "Ids of another tokenizer", "Give the tokenizer that made the ids."
    ),
    "LT-E401": Code(
        "The tokenizer differs from a saved fingerprint",
        "Another version or another tokenizer",
        "Use the tokenizer of the fingerprint, or save the fingerprint again.",
    ),
    "LT-E402": Code(
        "A fingerprint file cannot be used",
        "It is missing, damaged or of another version",
        "Write it again with `fingerprint --save`.",
    ),
    "LT-E280": Code(
        "The texts to train a tokenizer on are empty",
        "The data has no text, or only empty lines",
        "Give data with text.",
    ),
    "LT-E480": Code(
        "The name of a tokenizer of images is invalid, or a number in it is out of range",
        "A typing error, or an image that is too large",
        "Give `pixels:HEIGHTxWIDTH:LEVELS:LABELS`, such as `pixels:28x28:8:10`.",
    ),
    "LT-E481": Code(
        "A tokenizer is not one of images",
        "A model of texts, or files that another program changed",
        "Give `pixels:HEIGHTxWIDTH:LEVELS:LABELS`, or a model that was trained with such a tokenizer.",
    ),
    "LT-E482": Code(
        "The tokenizer of images has no such label",
        "A wrong number, or images with more labels than the tokenizer",
        "Give a label that the message lists.",
    ),
    "LT-E483": Code(
        "Tokens or pixels are not those of one image",
        "Another tokenizer, or images of several shapes",
        "Use the tokenizer that encoded the images; give images of one shape.",
    ),
    "LT-E484": Code(
        "A source has no images that can be read",
        "A wrong path, or a form of file that is not known",
        "Give an IDX, `.npz` or `.parquet` file, or a folder of `.png` files.",
    ),
    "LT-E485": Code(
        "A file of images or labels is damaged, or is too large",
        "An incomplete download, or another kind of file",
        "Fetch the file again, or convert what the message names.",
    ),
    "LT-E486": Code(
        "A setting does not fit the images",
        "A `shrink` that does not divide the sides, or too few labels",
        "Give a value as the message says.",
    ),
    "LT-E487": Code(
        "Pillow, which reads image files, is not installed",
        "The extra is missing",
        "Install `lazarus-tokenkit[images]`, or give an IDX or `.npz` file.",
    ),
    "LT-E488": Code(
        "A file of images as token ids, or its manifest, was changed",
        "An edit, or a manifest of another file",
        "Prepare the images again.",
    ),
    "LT-E501": Code(
        "A text or id given to the command cannot be used",
        "Standard input is closed, not UTF-8, or an id is out of range",
        "Correct the input that the message names.",
    ),
    "LT-E502": Code(
        "A conversation file is not a conversation",
        "The file has another structure",
        "Give a list of messages, or an object with `messages`.",
    ),
    "LT-E503": Code(
        "An output would replace a file of another kind",
        "The path names another file",
        "Choose another path, or `--force`.",
    ),
    "LT-E504": Code(
        "A length cache cannot be built",
        "Another process writes the same output, or the resume file was changed",
        "Wait for the other process, or start again.",
    ),
    "LT-E601": Code("The corpus or the length cache is empty", "An empty data file", "Give data with rows."),
    "LT-E602": Code("A fit score needs two documents or more", "The corpus has one document", "Give more documents."),
    "LT-E701": Code(
        "An encoding engine is not installed", "The extra is missing", "Install the extra that the message names."
    ),
    "LT-E801": Code(
        "SentencePiece is not installed", "The extra is missing", "Install `lazarus-tokenkit[sentencepiece]`."
    ),
    "LT-E802": Code(
        "SentencePiece refuses the training",
        "The vocabulary size is too small or too large for the corpus",
        "Change the setting that the message names.",
    ),
    "LT-E803": Code(
        "A file has no documents to train a tokenizer on", "The file has too little text", "Give more data."
    ),
    "LT-E920": Code(
        "A system message cannot be read from its file",
        "The file is empty or not UTF-8",
        "Write the text into the file as UTF-8.",
    ),
    "LT-E921": Code(
        "A system message cannot be added to a document",
        "`samples prepare --system-file` on rows with `text`",
        "Use rows with messages or prompts, or leave the system message out.",
    ),
    "LT-E901": Code(
        "A regression suite cannot be read",
        "A missing file, or malformed YAML",
        "Correct the file that the message names.",
    ),
    "LT-E902": Code(
        "An entry of a regression suite is invalid",
        "A missing or unknown member",
        "Correct the entry that the message names.",
    ),
    "LT-E930": Code(
        "The vocabulary in a GGUF file is invalid",
        "A damaged file, or a program that wrote it wrongly",
        "Fetch or write the file again; the message names the key.",
    ),
    "LT-E931": Code(
        "The tokenizer of a GGUF file is not supported",
        "A kind of tokenizer, or a splitting of text, that this version does not know",
        "Use the model's directory of safetensors; the message lists what is supported.",
    ),
    "LT-E932": Code(
        "GGUF cannot express the tokenizer",
        "A normalization, a splitting of text or a kind of model without a name in the format",
        "Save the model as a directory, and use llama.cpp's own converter.",
    ),
}
