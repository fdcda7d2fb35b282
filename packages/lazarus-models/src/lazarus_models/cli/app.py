"""The command `lazarus-models`; also `lazarus infer`, `chat`, `serve`, `doctor` and `model`."""

from typing import Annotated

from lazarus_core.cli_app import App
from lazarus_core.console import version_option
from lazarus_models.cli.answering import chat, infer
from lazarus_models.cli.benchmarking import bench
from lazarus_models.cli.caching import cache_app
from lazarus_models.cli.describing import estimate, info
from lazarus_models.cli.evaluating import eval_app
from lazarus_models.cli.examples import examples
from lazarus_models.cli.imaging import images
from lazarus_models.cli.machine import doctor
from lazarus_models.cli.making import convert, import_model, new
from lazarus_models.cli.serving import serve

app = App(
    name="lazarus-models",
    help="Run, create, convert and serve language models on MLX, in the Hugging Face layout.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

model_app = App(
    help="Create, import, describe or convert models; draw images; list examples and downloaded models.",
    no_args_is_help=True,
)
"""`lazarus model`."""

for command in (infer, chat, serve, info, new, estimate, convert, examples, images, bench, doctor):
    app.command()(command)
for command in (info, new, estimate, convert, examples, images):
    model_app.command()(command)
app.add_typer(eval_app, name="eval")
for each in (app, model_app):
    each.command("import")(import_model)
    each.add_typer(cache_app, name="cache")


@app.callback()
def _root(version: Annotated[bool, version_option("lazarus-models")] = False) -> None:  # pyright: ignore[reportUnusedFunction] (typer calls it)
    pass
