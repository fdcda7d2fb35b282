"""The meaning, usual cause and way out of every code of lazarus-models."""

from lazarus_core.codes import Code

CODES = {
    "LM-E100": Code(
        "No model lies at this path or has this name",
        "A typing error, or an adapter given as a model",
        "Give a folder with `config.json`, a hub name or a short name.",
    ),
    "LM-E101": Code(
        "A JSON file of a model cannot be read", "A cut-off download, or a file edited by hand", "Fetch the file again."
    ),
    "LM-E102": Code(
        "A config does not name its architecture", "`model_type` is missing", 'Add `model_type`, such as "llama".'
    ),
    "LM-E103": Code(
        "A config contradicts itself or lacks a key",
        "A file edited by hand, or a new version of a family",
        "Correct the key that the message names.",
    ),
    "LM-E104": Code("No preset has this name", "A typing error", "Choose one of the presets that the message lists."),
    "LM-E105": Code(
        "`vocab_size` is smaller than the tokenizer",
        "A model made for another tokenizer",
        "Give at least the size that the message names.",
    ),
    "LM-E106": Code(
        "The output of a conversion or new model cannot be used, or a setting is unknown",
        "The path names another folder, or a typing error",
        "Choose another folder or one of the values that the message lists.",
    ),
    "LM-E107": Code(
        "The hub did not give this model",
        "A wrong name, no network, or a gated repository",
        "Fetch it where there is a network, or give a folder.",
    ),
    "LM-E108": Code(
        "A stop token is outside the vocabulary",
        "`generation_config.json` belongs to another model",
        "Correct `eos_token_id`.",
    ),
    "LM-E109": Code(
        "A model is too large for this machine or this version",
        "A config with wrong sizes, or a machine with less memory",
        "Check the sizes in the config, or use a smaller or quantized model.",
    ),
    "LM-E110": Code(
        "The architecture is not supported",
        "A family that this version does not know",
        "Use a supported family, or register one with the entry point `lazarus.families`.",
    ),
    "LM-E111": Code(
        "The weights are quantized by a method that is not read",
        "A GPTQ, AWQ or bitsandbytes checkpoint",
        "Give the unquantized checkpoint or one in MLX's format.",
    ),
    "LM-E112": Code(
        "A family cannot do what its config asks for",
        "A setting that other implementations ignore",
        "Use a checkpoint without the setting that the message names.",
    ),
    "LM-E113": Code(
        "The samples of a row would see each other",
        "A recurrent, chunked or absolutely positioned model with packed rows",
        "Plan with `--mode padded`.",
    ),
    "LM-E114": Code(
        "A model cannot be quantized so",
        "It is quantized already, or no width divides by `group_size`",
        "Give the plain model, or another `group_size`.",
    ),
    "LM-E115": Code(
        "A model cannot be written as GGUF",
        "A family or tokenizer that the writer does not know",
        "Save the model as a folder.",
    ),
    "LM-E116": Code(
        "A recurrent layer cannot skip padding", "A batch of prompts with different lengths", "Give rows of one length."
    ),
    "LM-E117": Code(
        "Experts in half precision on a CPU",
        "MLX multiplies stacks of experts in float32 only there",
        "Load the model with `dtype` float32.",
    ),
    "LM-E120": Code(
        "A model folder has no safetensors",
        "Only pickles were fetched, or weights are missing",
        "Fetch the safetensors, or convert the pickles.",
    ),
    "LM-E121": Code(
        "A safetensors file is damaged", "A cut-off download, or Git LFS pointers", "Fetch the file again."
    ),
    "LM-E122": Code(
        "The index of the weights names files or tensors that are absent",
        "A download that was not finished",
        "Fetch the files that the message names.",
    ),
    "LM-E123": Code(
        "Weights are missing",
        "The config describes more layers or tensors than the files hold",
        "Fetch all files, or correct the config.",
    ),
    "LM-E124": Code(
        "The files hold weights that the config does not describe",
        "A config of another model",
        "Use the config of these weights.",
    ),
    "LM-E125": Code(
        "A weight has another shape or type than the config describes",
        "A config of another model",
        "Use the config of these weights.",
    ),
    "LM-E126": Code(
        "A model with LoRA layers cannot be saved as it is",
        "The adapters were not merged",
        "Call `merge_lora` first, or `save_adapter`.",
    ),
    "LM-E128": Code(
        "A weight holds NaN or infinity",
        "A training run that diverged, or a damaged file",
        "Fetch or train the weights again.",
    ),
    "LM-E129": Code(
        "A weight file lies outside the model folder",
        "A link, or a path in the index",
        "Copy the file into the folder.",
    ),
    "LM-E130": Code(
        "LoRA targets match no layer", "A wrong pattern", "Choose one of the layers that the message lists."
    ),
    "LM-E131": Code(
        "LoRA layers are there already, or absent",
        "`apply_lora` or `merge_lora` was called twice",
        "Call `merge_lora` first, or not at all.",
    ),
    "LM-E132": Code(
        "An adapter cannot be read",
        "A missing or damaged `adapter_config.json`, or another kind of adapter",
        "Give a folder with a LoRA or DoRA adapter.",
    ),
    "LM-E133": Code(
        "An adapter adapts layers that the model lacks",
        "The adapter belongs to another model",
        "Load it on its own base model.",
    ),
    "LM-E134": Code(
        "A tensor of an adapter has the wrong shape",
        "The adapter belongs to another model, or its rank was edited",
        "Load it on its own base model.",
    ),
    "LM-E135": Code("No adapter has this name", "A typing error", "Choose one of the adapters that the message lists."),
    "LM-E136": Code(
        "PEFT's format cannot hold this adapter", "It adapts a stack of experts", "Save it in mlx-lm's layout."
    ),
    "LM-E137": Code(
        "The rank exceeds the width of a layer",
        "A rank above the narrower side of a matrix",
        "Give a lower rank, or leave the layer out.",
    ),
    "LM-E138": Code(
        "A setting of a PEFT adapter is not supported",
        "A variant of LoRA that this version does not compute",
        "Merge the adapter with PEFT and load the merged model.",
    ),
    "LM-E139": Code(
        "The adapter was trained on another base model",
        "The base model was changed or replaced",
        "Load the adapter on its own base, or set `any_base`.",
    ),
    "LM-E140": Code("The prompt has no tokens", "An empty text and a tokenizer without BOS", "Give a text."),
    "LM-E141": Code("`raw` was given with messages", "Messages need a template", "Give a text, or leave `raw` out."),
    "LM-E142": Code(
        "The prompt is longer than the model's context",
        "A long text, or a model with few positions",
        "Shorten the prompt.",
    ),
    "LM-E143": Code(
        "A token id is outside the vocabulary",
        "Tokenizer and model do not belong together",
        "Use the tokenizer of the model.",
    ),
    "LM-E144": Code(
        "An option of generation cannot be used so",
        "Options that exclude each other, or a file that is not UTF-8",
        "Change the option that the message names.",
    ),
    "LM-E145": Code(
        "A prompt cache does not fit the prompt or model",
        "The cache belongs to another text or model",
        "Start with an empty cache.",
    ),
    "LM-E146": Code(
        "A prompt cache file cannot be read",
        "A damaged file, or another kind of file",
        "Write it again with `PromptCache.save`.",
    ),
    "LM-E147": Code(
        "The draft model does not suit the model",
        "Another vocabulary, or layers that cannot take back a guess",
        "Choose another draft model, or generate without one.",
    ),
    "LM-E148": Code(
        "The server cannot listen at this address",
        "The port is taken, or the address is not of this machine",
        "Give another `--host` or `--port`.",
    ),
    "LM-E149": Code(
        "`logit_bias` names ids outside the vocabulary", "Ids of another tokenizer", "Use ids of this model."
    ),
    "LM-E150": Code(
        "`LAZARUS_BLAS` names a library that cannot be loaded",
        "A wrong path or architecture",
        "Give a shared library or `off`.",
    ),
    "LM-E151": Code(
        "`LAZARUS_BLAS` names a library without `cblas_sgemm`",
        "The library is not a BLAS with the C interface",
        "Give an OpenBLAS or `off`.",
    ),
    "LM-E152": Code("The limit of the address space is too low for OpenBLAS", "`ulimit -v`", "Raise the limit."),
    "LM-E160": Code(
        "The server's settings would let anybody in",
        "A key that is empty or cannot be sent, or no key on a public address",
        "Set `api_key`, or allow access without one explicitly.",
    ),
    "LM-E161": Code(
        "The server's libraries are not installed", "The extra `serve` is missing", "Install `lazarus-models[serve]`."
    ),
    "LM-E180": Code(
        "The family of another package cannot be loaded",
        "A broken or old package, or two packages with the same `model_type`",
        "Update or uninstall the package that the message names.",
    ),
    "LM-E181": Code(
        "The family of another package failed",
        "An error in that package",
        "Update or uninstall the package that the message names.",
    ),
    "LM-E230": Code(
        "There is no prompt to answer",
        "An empty file or standard input, or a row without a question",
        "Give a text; the message names file and line.",
    ),
    "LM-E231": Code(
        "A model is not in the cache of downloaded models, or cannot be removed from it",
        "A typing error, or a file that another user owns",
        "Choose a model that `lazarus model cache list` shows.",
    ),
    "LM-E232": Code(
        "Models are removed only when it is confirmed",
        "`lazarus model cache remove` without `--yes`",
        "Add `--yes`.",
    ),
    "LM-E233": Code(
        "No example has this name",
        "A typing error, or a family without published models",
        "Choose one of the names that the message lists.",
    ),
    "LM-E250": Code(
        "The system message of the server cannot be used with the model",
        "A chat template without a system role, or a text longer than the context",
        "Shorten the text, or serve without it.",
    ),
    "LM-E251": Code(
        "Prompt and answer of masked diffusion do not fit the requested length or the context",
        "A prompt as long as the total length, or longer than the model's context allows",
        "Give a larger total length, or shorten the prompt or the answer.",
    ),
    "LM-E252": Code(
        "The mask token is unknown or not a token of the model",
        "The model's config names no mask token, or a typing error",
        "Give the mask token that the model was trained with, as text or id.",
    ),
    "LM-E253": Code(
        "A benchmark of generation asks for what the model cannot do",
        "Prompts and answers beyond the context, or a batch of masked diffusion",
        "Measure shorter prompts and answers, or one text at once.",
    ),
    "LM-E260": Code(
        "Constrained answers need a library that is not installed",
        "A JSON format or a forced call without the extra `grammar`",
        "Install `lazarus-models[grammar]`.",
    ),
    "LM-E261": Code(
        "The JSON schema cannot be enforced",
        "A keyword that the grammar does not know, or a model without an end-of-text token",
        "Simplify the schema; the message names the keyword.",
    ),
    "LM-E262": Code(
        "A constrained answer cannot go on",
        "A schema with too many alternatives, or a vocabulary that cannot write it",
        "Use a simpler schema.",
    ),
    "LM-E263": Code(
        "A web origin of the server is not valid or not allowed",
        "A path or a capital letter in the origin, or `*` without a key",
        "Give scheme, name and port only, or set `api_key`.",
    ),
    "LM-E264": Code(
        "A GGUF file is truncated or damaged",
        "A broken download, or another kind of file",
        "Fetch or write it again; the message gives the byte.",
    ),
    "LM-E265": Code(
        "A setting of a GGUF file is missing or invalid",
        "A damaged file, or a program that wrote it wrongly",
        "Fetch or write the file again; the message names the key.",
    ),
    "LM-E266": Code(
        "A GGUF file has an architecture, a setting, a tensor or a type of weights that is not read",
        "A newer format, or a model of another kind",
        "Use the model's directory of safetensors; the message names what is supported.",
    ),
    "LM-E268": Code(
        "Quantized weights of GGUF need a library that is not installed",
        "The extra `gguf` is missing",
        "Install `lazarus-models[gguf]`.",
    ),
    "LM-E500": Code(
        "There is no task of this kind",
        "A typing error, or a package that is not installed",
        "Choose one of the kinds that `lazarus eval tasks` lists.",
    ),
    "LM-E501": Code(
        "A setting of a task is unknown, missing or out of range",
        "A typing error, or a window beyond the model's context",
        "Correct the setting; the message names it.",
    ),
    "LM-E502": Code(
        "A row does not have the form of its task",
        "A data set of another kind, or a damaged file",
        "Correct the row; the message names file, line and field.",
    ),
    "LM-E503": Code(
        "A task has no items",
        "An empty file, or texts without a token to score",
        "Give a file with items.",
    ),
    "LM-E504": Code(
        "A task needs a reference model, or none of the tasks uses the one that is given",
        "`preference` or `forgetting` without the model to compare with",
        "Give the reference model, or remove it.",
    ),
    "LM-E505": Code(
        "An item does not fit the model",
        "A choice or a prompt longer than the context, or without tokens of its own",
        "Shorten the item or leave it out; the message names it.",
    ),
    "LM-E506": Code(
        "A task or scorer of another package cannot be used",
        "The package is not for this version, or two packages provide the same name",
        "Update or uninstall the package that the message names.",
    ),
    "LM-E507": Code(
        "A report of an evaluation cannot be read",
        "Another JSON file, or a report of a newer version",
        "Give a file that `lazarus eval run` wrote.",
    ),
    "LM-E508": Code(
        "A file of thresholds cannot be used",
        "A typing error, or a threshold without a score",
        "Correct the threshold; the message names it.",
    ),
    "LM-E509": Code(
        "A score is not finite",
        "NaN in the weights, or a text that the model excludes",
        "Check the weights with `lazarus model info`.",
    ),
    "LM-E510": Code(
        "A regular expression takes too long",
        "Nested repetitions, as in `(a+)+`",
        "Simplify the expression; the message names the prompt.",
    ),
    "LM-E511": Code(
        "Two results cannot be compared",
        "Other items, or nothing that both models were evaluated on",
        "Evaluate both on the same tasks and data.",
    ),
    "LM-E512": Code(
        "A score is worse than its threshold",
        "A worse model, or a threshold that is too strict",
        "Compare with an earlier report; this is what `--fail-below` checks.",
    ),
    "LM-E570": Code(
        "MLX does not start",
        "No build of MLX, or two that overwrite each other, or a damaged one",
        "Install one build; the message names the commands.",
    ),
    "LM-E571": Code(
        "The NVIDIA driver is missing or too old for the installed MLX",
        "MLX for CUDA on a machine without a GPU, in a container without its driver, or with an old driver",
        "Update the driver, or install MLX for CPUs; the message names the commands.",
    ),
    "LM-E550": Code(
        "An image has more tokens than the model's context",
        "A model made for shorter texts, or large images",
        "Use a model of a longer context, or prepare smaller images (`shrink`).",
    ),
    "LM-E551": Code(
        "The number of images is out of range, or the grid does not fit the labels",
        "A typing error",
        "Give a number as the message says.",
    ),
}
