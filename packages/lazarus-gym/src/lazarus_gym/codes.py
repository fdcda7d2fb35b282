"""The meaning, usual cause and way out of every code of lazarus-gym."""

from lazarus_core.codes import Code

CODES = {
    "LG-E100": Code("No family of tasks has this name", "A typing error", "Choose one that the message lists."),
    "LG-E101": Code("The number of tasks is too small", "A value below 1", "Ask for at least one task."),
    "LG-E102": Code(
        "The number of digits is out of range",
        "A value that is too large",
        "Choose a number in the range that the message names.",
    ),
    "LG-E103": Code("No kind of question has this name", "A typing error", "Choose one that the message lists."),
    "LG-E104": Code("A kind is named twice, or none is named", "A typing error", "Name each kind once."),
    "LG-E105": Code(
        "There are not that many different questions",
        "Few digits and many tasks",
        "Ask for fewer tasks or more digits.",
    ),
    "LG-E110": Code("A file of tasks or replies does not exist", "A wrong path", "Correct the path."),
    "LG-E111": Code("A file of tasks or replies is empty", "The program that wrote it failed", "Write it again."),
    "LG-E112": Code("A line is not JSON", "A cut-off line", "Correct the line that the message names."),
    "LG-E113": Code("A line is not a task", "Another kind of file", "Write tasks with `lazarus generate`."),
    "LG-E114": Code("Two lines have the same id", "Files that were joined", "Give every line its own id."),
    "LG-E115": Code("A line is not a reply", "Another kind of file", "Write lines with `id` and `reply`."),
    "LG-E116": Code("Tasks have no reply", "The replies are incomplete", "Add the replies that the message names."),
    "LG-E117": Code("Replies have no task", "Files of different sets", "Use the tasks that the replies answer."),
    "LG-E118": Code(
        "An output would replace something else", "The path names another file", "Choose another path, or `--force`."
    ),
    "LG-E120": Code(
        "No reward has this name",
        "A typing error, or a package that is not installed",
        "Choose one that the message lists, or install the package that provides it.",
    ),
    "LG-E121": Code(
        "The reward of another package cannot be loaded",
        "A broken or old package, or two packages with the same name of a reward",
        "Update or uninstall the package that the message names.",
    ),
    "LG-E122": Code(
        "The reward of another package failed or gave no number from 0 to 1",
        "An error in that package",
        "Update the package that the message names, or choose another reward.",
    ),
    "LG-E123": Code(
        "A file of rewards is not valid",
        "A wrong path, a typing error, or a setting that the type does not have",
        "Correct the line that the message names.",
    ),
    "LG-E124": Code(
        "A row lacks the right answer",
        "A data set whose answers are in another field, or not numbers",
        "Set the field `answer` of the reward, or correct the data.",
    ),
    "LG-E130": Code("No environment has this name", "A typing error", "Choose one that the message lists."),
    "LG-E131": Code(
        "The task or seed of an environment is not valid",
        "A typing error, or a seed out of range",
        "Choose a task that the message lists, or a seed in the range that it names.",
    ),
    "LG-E132": Code(
        "No episode is in progress", "`step` before `reset`, or after the end", "Call `reset` to begin an episode."
    ),
    "LG-E133": Code(
        "The worker of a jail cannot start",
        "A module or function that does not exist, fails at import, or needs longer than `start_s`",
        "Correct the module that the message names, or the Python that runs the worker.",
    ),
    "LG-E134": Code(
        "A call cannot be sent to a jail",
        "An unknown target, or arguments that are not JSON",
        "Name a target of the jail; pass numbers, texts, lists and dictionaries.",
    ),
    "LG-E135": Code(
        "A target of an audit does not exist",
        "A typing error, or a path that is wrong",
        "Choose a name that the message lists, or a file or folder of tasks.",
    ),
    "LG-E136": Code(
        "The package reasoning-gym is not installed",
        "It is no dependency of lazarus-gym",
        "Install it into an environment of its own, and name the Python of that environment.",
    ),
    "LG-E137": Code(
        "An argument has no effect on the target of an audit",
        "`python` or `environment` with a target that does not use it",
        "Omit it, or give the target that the message names.",
    ),
    "LG-E140": Code(
        "A puzzle server cannot be reached",
        "No server is running there, or a wrong port",
        "Start a server, or correct host, port and transport.",
    ),
    "LG-E141": Code(
        "A puzzle server did not answer in time",
        "A server that computes a large puzzle, or hangs",
        "Raise the time limit that the message names, or look at the server.",
    ),
    "LG-E142": Code(
        "The connection to a puzzle server was closed",
        "The server ended, or failed at a command",
        "Connect again; finished episodes are kept.",
    ),
    "LG-E143": Code(
        "A puzzle server sent something unknown", "It is another kind of server", "Correct host, port and transport."
    ),
    "LG-E144": Code(
        "No game has this name, or the server does not offer it",
        "A typing error, or a server with fewer games",
        "Choose one that the message or `lazarus gym info` lists.",
    ),
    "LG-E145": Code(
        "A session with a puzzle server is used wrongly",
        "A command before `start`, outside `async with`, or of several lines",
        "Connect and start a puzzle first; send one command at a time.",
    ),
    "LG-E146": Code(
        "A server cannot listen on an address",
        "Another program uses the port",
        "Choose another port, or 0 for a free one.",
    ),
    "LG-E150": Code(
        "A folder of episodes would replace something else",
        "The folder holds other files, or a run with other settings",
        "Choose another folder; the same settings continue a run.",
    ),
    "LG-E151": Code(
        "A policy or the embedded games cannot play a puzzle",
        "A game that needs a server, or moves that the policy cannot write",
        "Choose a game that the message lists, another policy, or a server.",
    ),
    "LG-E152": Code(
        "A policy and its model do not match",
        "A policy without its model, or a model without the policy that uses it",
        "Give the policy `model` together with a model.",
    ),
    "LG-E153": Code(
        "An optional package is missing", "An installation without extras", "Install the extra that the message names."
    ),
    "LG-E154": Code("The episodes of a folder cannot be read", "A file that was changed", "Choose another folder."),
    "LG-E155": Code(
        "The settings of a run are not valid", "A number out of range", "Correct the setting that the message names."
    ),
    "LG-E160": Code(
        "A priority of a replay buffer is not valid", "A loss that diverged", "Give finite numbers of at least 0."
    ),
    "LG-E161": Code("Nothing can be drawn", "An empty buffer, or a count below 1", "Add samples before drawing."),
    "LG-E162": Code(
        "A buffer has no priorities", "Another kind of sampling", "Make the buffer with `sampling` prioritized."
    ),
    "LG-E163": Code(
        "A checkpoint of a buffer would replace something else",
        "The folder holds other files",
        "Choose another folder.",
    ),
    "LG-E164": Code(
        "A checkpoint of a buffer cannot be read",
        "A wrong path, a changed file, or a newer version of lazarus-gym",
        "Restore it from a backup, or begin a new buffer.",
    ),
    "LG-E170": Code(
        "A text is no address of an OpenEnv server",
        "A typing error",
        "Give `ws://HOST:PORT` or `http://HOST:PORT`.",
    ),
    "LG-E171": Code(
        "An OpenEnv server cannot be reached",
        "No server is running there, or a wrong address",
        "Start the server, or correct the address.",
    ),
    "LG-E172": Code(
        "An OpenEnv server did not answer in time",
        "A server that computes a large task, or hangs",
        "Raise the time limit that the message names, or look at the server.",
    ),
    "LG-E173": Code(
        "The connection to an OpenEnv server was closed",
        "The server ended or was silent for too long, or an earlier error",
        "Call `reset` for a new episode; finished episodes are kept.",
    ),
    "LG-E174": Code(
        "A server sent something that OpenEnv's protocol does not have",
        "It is another kind of server",
        "Correct the address.",
    ),
    "LG-E175": Code(
        "An OpenEnv server refused a request",
        "An environment, task or action that it does not have, or an episode that has ended",
        "Follow the server's message.",
    ),
    "LG-E176": Code(
        "A text is no action of an OpenEnv server",
        "Its actions have several members",
        "Give the action as a JSON object, or name the member in `action_field`.",
    ),
    "LG-E177": Code(
        "A client of an OpenEnv server is used wrongly", "`step` or `state` before `reset`", "Call `reset` first."
    ),
    "LG-E178": Code(
        "No environment or family of tasks to export has this name",
        "A typing error",
        "Choose one that the message lists.",
    ),
}
