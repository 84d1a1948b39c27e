"""The command line. Each command is a signature and a sentence here; what it does is in commands/, loaded when called.

Exit codes: 0, 1 for a fault of the data, 2 for a wrong recipe, flag or machine, 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from promptforge import __version__
from promptforge.commands import labelling
from promptforge.commands.import_options import Import
from promptforge.commands.plan_options import PlanOptions
from promptforge.commands.prompt_options import Given
from promptforge.commands.replay_options import Shown
from promptforge.errors import PromptforgeError

RunFolder = Annotated[Path | None, Parameter("--run", help="run folder; the one under runs/ that ran last by default")]
Settings = Annotated[
    list[str] | None,
    Parameter("--set", help="a field of the recipe, e.g. render.takes=3, or @FILE with one a line; may be repeated"),
]
Policy = Annotated[
    list[str] | None,
    Parameter("--set", help="a field of select, e.g. select.quota.text_rendering=50, or @FILE; may be repeated"),
]
Out = Annotated[str | None, Parameter(help="run folder; by default runs/ and the recipe's name")]
Extends = Annotated[str | None, Parameter(help="published data set, its run, or that run's name, which this adds to")]

app = App(
    name="promptforge",
    help="Makes, filters, renders, scores and publishes distillation prompts for text-to-image models.",
    help_epilogue="Every command takes --debug, which shows tracebacks and the scheduler's log.",
    version=__version__,
    version_flags=["--version"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative_iterable=()),  # no --empty-set beside --set
)


@app.command(sort_key=1)
def run(
    recipe: Annotated[str, Parameter(help="a recipe of the package, e.g. mini, or a .toml file")] = "mini",
    *,
    given: Given | None = None,
    out: Out = None,
    extends: Extends = None,
    settings: Settings = None,
) -> int:
    """Prompts in, shards out: do what is missing in a run."""
    from promptforge.commands.run import extending, run_command

    return run_command(recipe, given or Given(), out, [*(settings or ()), *extending(extends)])


@app.command(sort_key=0)
def plan(
    recipe: Annotated[str, Parameter(help="a recipe of the package, e.g. mini, or a .toml file")] = "mini",
    *,
    given: Given | None = None,
    asked: PlanOptions | None = None,
    out: Out = None,
    extends: Extends = None,
    settings: Settings = None,
) -> int:
    """What a run will come to, before the bill: rows, time, money, disk; renders nothing unless --pilot."""
    from promptforge.commands.plan import plan_command

    return plan_command(recipe, given or Given(), (out, extends), settings or (), asked or PlanOptions())


@app.command(sort_key=2)
def status(*, run: RunFolder = None) -> None:
    """How far a run is, and whether it is going on."""
    from promptforge.commands import status as command
    from promptforge.commands.terminal import find_run

    command.show_status(find_run(run, finished=False))


@app.command(sort_key=3)
def query(
    sql: Annotated[str | None, Parameter(help='one statement, e.g. "select * from funnel"')] = None,
    *,
    file: Annotated[Path | None, Parameter(help="file with the statement")] = None,
    format: Annotated[Literal["table", "csv", "json", "parquet"], Parameter(help="how rows are written")] = "table",
    output: Annotated[Path | None, Parameter(help="file to write to; parquet needs one")] = None,
    run: Annotated[
        list[Path] | None,
        Parameter(help="run folder; may be repeated: then tables and views of all, with a column run"),
    ] = None,
) -> None:
    """SQL over the tables and views of a run, or of several as one."""
    from promptforge.commands.query import run_query
    from promptforge.commands.terminal import find_run

    run_query([find_run(folder) for folder in run or (None,)], sql, file, format, output)


@app.command(sort_key=4)
def why(
    id: Annotated[str, Parameter(help="row_id or prompt_id, or its first digits")], /, *, run: RunFolder = None
) -> None:
    """What became of a row: verdicts, decisions, gates."""
    from promptforge.commands import lookup
    from promptforge.commands.terminal import find_run

    lookup.why(find_run(run), id)


@app.command(sort_key=7)
def coverage(
    *,
    by: Annotated[
        Literal["axis", "category", "cell", "source", "template"],
        Parameter(help="what a row is of; cell: category, style and length"),
    ] = "axis",
    min: Annotated[
        list[str] | None,
        Parameter(
            "--min", help="measure.axis=value, e.g. unique_nouns.all=500, or cell=20; exit 1 below; may be repeated"
        ),
    ] = None,
    json: Annotated[bool, Parameter(negative="", help="as JSON, for programs")] = False,
    run: RunFolder = None,
) -> int:
    """What the accepted prompts cover: nouns, n-grams, templates, lengths, natural captions."""
    from promptforge.commands import coverage as command
    from promptforge.commands.terminal import find_run

    return command.show(find_run(run), by, min or (), as_json=json)


@app.command(sort_key=5)
def show(
    id: Annotated[str, Parameter(help="image_id or prompt_id, or its first digits")],
    /,
    *,
    output: Annotated[Path | None, Parameter(help="file for the picture, .webp or .png")] = None,
    run: RunFolder = None,
) -> None:
    """Write a picture to a file; print its prompt, scores and reading."""
    from promptforge.commands import lookup
    from promptforge.commands.terminal import find_run

    lookup.show(find_run(run), id, output)


@app.command(sort_key=6)
def report(
    *,
    out: Annotated[Path | None, Parameter(help="file to write; report.html in the run folder by default")] = None,
    open: Annotated[bool, Parameter(negative="", help="open it in the browser")] = False,
    run: RunFolder = None,
) -> None:
    """Write report.html: figures, gates, pictures, coverage, cost in one file that needs no network."""
    from promptforge.commands.report import make_report
    from promptforge.commands.terminal import find_run

    make_report(find_run(run), out, show=open)


@app.command(sort_key=8)
def select(
    *,
    settings: Policy = None,
    shown: Shown | None = None,
    apply: Annotated[bool, Parameter(negative="", help="do it: a run with these settings")] = False,
    run: RunFolder = None,
) -> int:
    """What other gates or quotas would keep; --apply makes it so."""
    from promptforge.commands import replay
    from promptforge.commands import run as runs
    from promptforge.commands.terminal import find_run

    root = find_run(run)
    replay.show(root, settings or (), shown or Shown(), apply=apply)
    if not apply:
        return 0
    return runs.run(runs.make_params(recipe=str(root / "_run.json"), out=str(root), settings=settings or []))


@app.command(sort_key=11)
def publish(*, extends: Extends = None, settings: Settings = None, run: RunFolder = None) -> int:
    """Publish a run again, as an addition to a published set; what that changes is made anew."""
    from promptforge.commands import run as runs
    from promptforge.commands.terminal import find_run

    root = find_run(run, finished=False)
    chosen = [*(settings or ()), *runs.extending(extends)]
    return runs.run(runs.make_params(recipe=str(root / "_run.json"), out=str(root), settings=chosen))


@app.command(sort_key=12)
def verify(*, run: RunFolder = None) -> int:
    """Compare every file with its record; exit 1 on a fault."""
    from promptforge.commands.decide import show_faults
    from promptforge.commands.terminal import find_run

    return show_faults(find_run(run, finished=False))


@app.command(sort_key=15)
def purge(
    ids: Annotated[list[str], Parameter(help="prompt_id or row_id of each text")],
    /,
    *,
    reason: Annotated[str, Parameter(help="why, as a snake_case code that stays with the hash")],
    run: RunFolder = None,
) -> None:
    """Remove texts for good; their hash and reason stay."""
    from promptforge.commands.decide import purge_texts
    from promptforge.commands.terminal import find_run

    purge_texts(find_run(run, finished=False), ids, reason)


@app.command(sort_key=21)
def schema(name: Annotated[str | None, Parameter(help="a table or view; without one, all are listed")] = None) -> None:
    """Tables and views, or the columns of one."""
    from promptforge.commands.query import show_schema

    show_schema(name)


@app.command(sort_key=22)
def serve(*, port: Annotated[int | None, Parameter(help="port on 127.0.0.1; a free one by default")] = None) -> int:
    """Prefect's server, deployments and a worker, until Ctrl-C."""
    from promptforge.flows.serve import serve_until_stopped

    return serve_until_stopped(port)


@app.command(sort_key=16)
def import_images(
    path: Annotated[str, Parameter(help="folder of pictures with metadata.jsonl or captions in .txt, or Parquet")],
    /,
    *,
    options: Import,
    recipe: Annotated[str, Parameter(help="checks, scorers and gates")] = "imported",
    run: Annotated[
        Path | None, Parameter(help="a run whose prompts these are pictures of; works in its folder")
    ] = None,
    out: Out = None,
    settings: Settings = None,
) -> int:
    """Score and publish pictures that were rendered elsewhere."""
    from promptforge.commands import import_images as command
    from promptforge.commands.terminal import find_run

    chosen = None if run is None else find_run(run)
    return command.import_images(path, options, recipe, chosen, out, settings or ())


@app.command(sort_key=17)
def doctor(
    *,
    recipe: Annotated[str, Parameter(help="the recipe that is to run here")] = "mini",
    settings: Settings = None,
    json: Annotated[bool, Parameter(negative="", help="as JSON, for programs")] = False,
) -> int:
    """What a recipe needs of this machine, and what to do about what is missing; exit 2 where anything is."""
    from promptforge.commands.doctor import show as show_findings

    return show_findings(recipe, settings or (), as_json=json)


app.command(labelling.label, sort_key=9)
app.command(labelling.calibrate, sort_key=10)
app.command(labelling.first_contact, name="first-contact", sort_key=18)


@app.command(sort_key=13)
def export(
    format: Annotated[
        str | None, Parameter(help="distillt5, diffusers, webdataset, ...; without one, all are listed")
    ] = None,
    out: Annotated[Path | None, Parameter(help="folder that is made")] = None,
    /,
    *,
    dataset: Annotated[Path | None, Parameter(help="a published data set, where no run is meant")] = None,
    run: RunFolder = None,
    settings: Settings = None,
) -> None:
    """Write the published data set in a trainer's own form."""
    from promptforge.commands import export as command
    from promptforge.errors import ConfigError

    if format is None:
        command.show_formats()
        return
    if out is None:
        raise ConfigError(f"export {format}: missing the folder to write; for example promptforge export {format} out")
    command.run_export(format, dataset, run, out, settings or ())


@app.command(sort_key=14)
def push(
    repository: Annotated[str, Parameter(help="owner/name on the Hugging Face hub")],
    /,
    *,
    folder: Annotated[Path | None, Parameter(help="a data set or an export; the run's dataset/ by default")] = None,
    private: Annotated[bool, Parameter(negative="--public", help="make a new repository private")] = True,
    dry_run: Annotated[bool, Parameter(negative="", help="only say what would be sent and removed")] = False,
    run: RunFolder = None,
) -> None:
    """Put a data set or an export onto the hub, in one commit."""
    from promptforge.commands.push import run_push

    run_push(repository, folder, run, private=private, dry=dry_run)


@app.command(sort_key=19)
def distill(
    settings_file: Annotated[str, Parameter(name="settings", help="name of settings in the package, or a .toml file")],
    /,
    *,
    out: Annotated[Path | None, Parameter(help="folder of the training; runs/distill/NAME by default")] = None,
    settings: Settings = None,
) -> int:
    """Train a small text encoder on a published set, step by step behind the teacher."""
    from promptforge.commands import distill as command

    return command.distill(settings_file, out, settings or ())


@app.command(sort_key=20)
def evaluate(
    settings_file: Annotated[str, Parameter(name="settings", help="settings of the training, as for distill")],
    /,
    *,
    out: Annotated[Path | None, Parameter(help="folder of the training; runs/distill/NAME by default")] = None,
    student: Annotated[
        Path | None, Parameter(help="folder of a student; student/ in the training's by default")
    ] = None,
    settings: Settings = None,
) -> None:
    """Hold a student against its teacher on prompts that it never saw: errors, pictures, text, cost."""
    from promptforge.commands import evaluate as command

    command.evaluate(settings_file, out, student, settings or ())


def main(tokens: Sequence[str] | None = None) -> None:
    """Run one command and exit."""
    given = list(sys.argv[1:] if tokens is None else tokens)
    debug = "--debug" in given
    code = answer([token for token in given if token != "--debug"], debug=debug)
    if "prefect" in sys.modules and not os.environ.get("PREFECT_API_URL"):
        # The work is committed and the temporary server gone: Prefect's exit hooks would wait for it, up to seconds,
        # and libraries torn down under its threads print what they leak.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def answer(tokens: Sequence[str], *, debug: bool = False) -> int:
    """The exit code of one command; every fault is a line on standard error."""
    from promptforge.commands.terminal import DEBUG

    mark = DEBUG.set(debug)
    try:
        code = app(list(tokens), exit_on_error=False, print_error=False)
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone, e.g. head; nobody is left to tell
        return 1
    except (CycloptsError, PromptforgeError) as exc:
        if debug:
            raise
        return _tell(exc, exc.exit_code if isinstance(exc, PromptforgeError) else 2)
    except Exception as exc:
        if debug:
            raise
        return _tell(exc, 1, f"unexpected {type(exc).__name__}: ", "; --debug shows where")
    finally:
        DEBUG.reset(mark)


def _tell(fault: Exception, code: int, before: str = "", after: str = "") -> int:
    from promptforge.commands.terminal import err, safe

    console = err()
    for line in f"{before}{fault}{after}".splitlines():
        console.print(f"promptforge: {safe(line).plain}", soft_wrap=True)
    return code


if __name__ == "__main__":
    main()
