"""The meaning, usual cause and way out of every code of lazarus-introspect."""

from lazarus_core.codes import Code

CODES = {
    "LI-E080": Code(
        "A row of labelled prompts is malformed",
        "A member is missing, empty or of another type, or labels mix texts and numbers",
        'Write rows such as {"prompt": "...", "label": "..."}.',
    ),
    "LI-E081": Code(
        "There are too few different prompts",
        "A small data set, or copies of the same prompts",
        "Give as many different prompts as the message names for each class.",
    ),
    "LI-E082": Code(
        "The labels do not fit the analysis",
        "One class only, too many classes or rows, or numbers where classes are needed",
        "Give at least two classes, or numbers for a regression.",
    ),
    "LI-E083": Code(
        "A site has no vector for each token",
        "A site of heads or attention patterns",
        "Probe a site with the axes B T D, such as `mlp_out`.",
    ),
    "LI-E084": Code(
        "A file is no direction, is damaged, or is newer",
        "Another file, or one that another version wrote",
        "Write it again with `lazarus introspect probe -o`.",
    ),
    "LI-E085": Code(
        "A direction does not fit",
        "It was computed from another model or site",
        "Compute it again from this model.",
    ),
    "LI-E086": Code(
        "A direction would replace another file", "A typing error in the name", "Give another name, or use --force."
    ),
    "LI-E087": Code(
        "A number of clusters does not fit the prompts",
        "Few or equal prompts",
        "Give fewer clusters, or more prompts.",
    ),
    "LI-E088": Code(
        "Answers and confidences do not fit",
        "A row without an answer, or a number that is no probability",
        'Write rows such as {"prompt": "...", "answer": "..."}.',
    ),
    "LI-E089": Code(
        "A set of arithmetic problems is invalid",
        "An unknown operator, a template without its fields, or too few or too large numbers",
        "Change the setting that the message names.",
    ),
    "LI-E100": Code("No model has this site", "A typing error", "Use a name that `lazarus introspect hooks` lists."),
    "LI-E101": Code(
        "This model does not have the site",
        "A state-space block has no attention, a dense block has no experts, a small model has fewer blocks",
        "Use a site that the model has; the message says why this one is missing.",
    ),
    "LI-E102": Code(
        "The object is no model of lazarus-models",
        "A model of another library",
        "Load the model with `lazarus_models.load`.",
    ),
    "LI-E103": Code("A site was not captured", "`names` does not list it", "Add the site to `names`."),
    "LI-E104": Code(
        "A PNG needs matplotlib",
        "The extra `png` is not installed",
        "Install `lazarus-introspect[png]`, or write a page.",
    ),
    "LI-E105": Code(
        "A stored result cannot be computed again",
        "The file is another one, was computed from Python, or is of another version",
        "Give a file that a command of `lazarus introspect` printed with `--json`.",
    ),
    "LI-E106": Code(
        "A run or a metric cannot be followed",
        "Another folder, a run with one checkpoint, or a metric without its token",
        "Give the folder of `lazarus train`, trained with `--save-every`, and what the message names.",
    ),
    "LI-E107": Code(
        "The audit log does not confirm the plan",
        "Another plan, or an interrupted run",
        "Give the plan that the run followed.",
    ),
    "LI-E110": Code(
        "A hook is no function, or did not return an array",
        "A function that returns a number or a NumPy array",
        "Return an `mx.array`, or None for no change.",
    ),
    "LI-E111": Code(
        "A hook returned an array of another shape or kind",
        "Indexing that drops an axis",
        "Return an array with the shape of the argument.",
    ),
    "LI-E112": Code(
        "The model ran, but a hooked site was not computed",
        "Layers that were replaced or wrapped after loading",
        "Load the model again and do not replace its layers.",
    ),
    "LI-E113": Code(
        "A site is computed several times in one pass",
        "A batch whose prompts are computed in parts",
        "Capture one prompt at a time.",
    ),
    "LI-E114": Code(
        "A hook needs positions that the model does not count",
        "A batch of generations, or a model of state spaces only, with a cache",
        "Generate one text at a time, or without a cache.",
    ),
    "LI-E120": Code(
        "Token ids are not a matrix of integers", "A flat list of ids", "Give rows of equal lengths: [[1, 2, 3]]."
    ),
    "LI-E121": Code(
        "Prompts have different numbers of tokens",
        "Two prompts with different words",
        "Use prompts with equal numbers of tokens.",
    ),
    "LI-E122": Code(
        "The model's outputs are not tokens", "A classifier, a reward model or a regression", "Use a language model."
    ),
    "LI-E123": Code("More than one prompt", "A batch", "Give one prompt at a time."),
    "LI-E124": Code("A position is outside the prompt", "A short prompt", "Choose a position of the prompt."),
    "LI-E125": Code(
        "The last norm is of an unknown kind",
        "A model of another package",
        "Attribution needs an RMSNorm or a LayerNorm.",
    ),
    "LI-E126": Code("Too little random input for a test", "Small values", "Give at least 8 rows and a period of 3."),
    "LI-E130": Code("A setting of an intervention is invalid", "A typing error", "Use a value that the message lists."),
    "LI-E131": Code(
        "Reference prompts are missing, or have no effect",
        "`mean` and `resample` need other prompts, `zero` and `noise` use none",
        "Give `reference` for `mean` and `resample` only.",
    ),
    "LI-E132": Code(
        "A head or neuron does not exist",
        "Keys and values have fewer heads than queries",
        "Choose a number below the count that the message names.",
    ),
    "LI-E133": Code(
        "A steering vector does not fit",
        "A vector of another model, or an empty set of prompts",
        "Compute the vector from this model, at a site of axes B T D.",
    ),
    "LI-E134": Code(
        "A path does not exist",
        "The sender comes after the receiver",
        "Choose senders of earlier blocks, or of the same block's attention for its MLP.",
    ),
    "LI-E140": Code("A layer does not exist", "A smaller model", "Choose layers in the range that the message names."),
    "LI-E141": Code("A prompt has no tokens", "An empty text", "Give a text."),
    "LI-E142": Code(
        "A text is not one token",
        "The tokenizer writes it with several tokens, or a leading space is missing",
        "Give one of the tokens that the message lists, or follow the first.",
    ),
    "LI-E143": Code("Two tokens are the same", "Equal texts", "Name two different tokens."),
    "LI-E144": Code("A criterion is empty", "An empty variable in a script", "Give a text, or `function_call`."),
    "LI-E146": Code(
        "Options of a command do not fit together", "A typing error", "Change the option that the message names."
    ),
    "LI-E145": Code("Nothing was captured yet", "`forward` was not called", "Call `forward` first."),
    "LI-E160": Code(
        "No tokens to route",
        "An empty list of texts, or a mask of zeros",
        "Give at least one text with a token that is not masked.",
    ),
    "LI-E161": Code(
        "A file of labelled texts is invalid",
        "A row without `text` or `label`, or a file that is too large",
        'Give JSON Lines such as {"text": "7 * 8 = 56", "label": "math"}, at most 10,000 texts of 64 labels.',
    ),
    "LI-E162": Code("Nothing would be captured", "All `capture_...` settings are off", "Set one of them."),
    "LI-E163": Code(
        "Experts cannot be compared over labels",
        "One label, few texts, or a model without its tokenizer",
        "Give at least two labels with five texts each, and the tokenizer.",
    ),
    "LI-E164": Code(
        "Rerouting leaves too few experts",
        "Nearly all experts of a block are ablated",
        "Ablate fewer experts, or use `drop`.",
    ),
    "LI-E165": Code(
        "Too few blocks with experts", "One block was chosen, or the model has one", "Choose two or more blocks."
    ),
    "LI-E170": Code(
        "The weights of two models cannot be compared",
        "Models of different families or sizes",
        "Give two models of one family, or a model and its adapter.",
    ),
    "LI-E171": Code(
        "Two models have different tokenizers",
        "Activations at one position belong to different tokens",
        "Give two models with one tokenizer, or use `lazarus introspect compare`.",
    ),
    "LI-E172": Code("Too few tokens to compare", "Short prompts", "Give longer or more prompts, or a smaller `skip`."),
    "LI-E173": Code(
        "A site cannot be compared between two models",
        "Patterns have no vector for each token; the models have no such site in common",
        "Choose sites such as `blocks.*.resid_post`.",
    ),
    "LI-E174": Code("No circuit has this name", "A typing error", "Choose a circuit that the message lists."),
    "LI-E175": Code(
        "A file is no result with a circuit",
        "The result of another command, or an incomplete one",
        "Give JSON that `ablate`, `moe ablate` or `attribute` printed with --json.",
    ),
}
