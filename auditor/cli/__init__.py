"""The command. Each verb is a file here, imported only when it is called, so that `check` loads no torch."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from auditor.errors import AuditError


class Verbs(TyperGroup):
    """Ends of a verb that typer would give the exit code 1, which means "the gate failed" here."""

    def invoke(self, ctx: Any) -> Any:
        """The verb; 130 on Ctrl-C, 141 where nobody reads the output any more."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            print("auditor: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
            raise typer.Exit(130) from error
        except BrokenPipeError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from error


app = typer.Typer(
    name="auditor",
    cls=Verbs,
    help="Audits a trained image model before it is released.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def show_version(asked: bool) -> None:
    """`auditor --version`."""
    if asked:
        from auditor import __version__

        print(f"auditor {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True, help="print the version")] = False,
) -> None:
    """Audits a trained image model before it is released."""


Model = Annotated[
    str | None,
    typer.Option(
        help="torchvision:NAME[@WEIGHTS|@none], timm:NAME, hf:NAME, hf:./DIR, package.module:factory, file.py:factory, demo:NAME"
    ),
]
SecondModel = Annotated[
    str | None, typer.Option(help="another model of the same classes, as --model: is it shown what the first one wants to see?")
]
OwnGenerator = Annotated[
    str | None,
    typer.Option(help="file.py:function: features of the model to images in [0,1], in the place of a net trained on the data"),
]
Data = Annotated[
    str | None, typer.Option(help="folder of class folders, manifest.csv, images.npz, folder of images, package.module:factory")
]
Train = Annotated[
    str | None, typer.Option(help="what the model was trained on, to look for leaks into --data; takes what --data takes")
]
Config = Annotated[
    Path | None, typer.Option("--config", "--policy", help="audit.toml (the one in this folder where there is one)")
]
Weights = Annotated[
    Path | None, typer.Option(help=".safetensors, .pt, .pth, .bin or .ckpt for the architecture that --model names")
]
ModelArgs = Annotated[list[str] | None, typer.Option("--model-arg", help="name=value for the factory, repeatable")]
Probes = Annotated[str | None, typer.Option(help="comma-separated probe ids; all of the profile where not given")]
Profile = Annotated[str, typer.Option(help="quick, standard, full, or one of [profiles]")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps")]
Task = Annotated[str | None, typer.Option(help="classification, or features for the label-free probes")]
Out = Annotated[Path | None, typer.Option(help="folder of the audit (reports/NAME)")]
Work = Annotated[Path | None, typer.Option(help="folder for decoded images and checkpoints (the user's cache)")]
Classes = Annotated[Path | None, typer.Option(help="class names in the order of the logits, one a line")]
LabelMap = Annotated[Path | None, typer.Option(help="label of the data -> class of the model, JSON or CSV")]
Preset = Annotated[str | None, typer.Option(help="imagenet: resize 256, crop 224, ImageNet mean and std")]
Mean = Annotated[str | None, typer.Option(help="comma-separated channel means, in units where pixels are 0 to 1")]
Std = Annotated[str | None, typer.Option(help="comma-separated channel standard deviations")]
Resize = Annotated[str | None, typer.Option(help="short side, or HxW")]
Crop = Annotated[str | None, typer.Option(help="centre crop: side, or HxW")]
Interpolation = Annotated[str, typer.Option(help="nearest, bilinear, bicubic, lanczos, box or hamming")]
Depth16 = Annotated[str, typer.Option(help="16-bit images: full, minmax or max=N")]
Seed = Annotated[int, typer.Option(help="of every random choice")]
PlanFile = Annotated[Path | None, typer.Option(help="repeat this plan (the plan.json of an audit) as it is")]
BudgetTime = Annotated[
    str | None, typer.Option(help="a time such as 5m: what no rule asks for is made smaller or left out to fit it")
]
TuneIt = Annotated[
    bool, typer.Option("--tune", help="choose batch, channels last and folding by timing some batches; --plan repeats the choice")
]
Precision = Annotated[str | None, typer.Option(help="bfloat16: try it in --tune, where it gives the same classes (float32)")]
EngineName = Annotated[str, typer.Option(help="local, ray (workers on this machine) or ray:ADDRESS (of a cluster)")]
Workers = Annotated[int | None, typer.Option(help="of --engine ray; as many as there is room for where not given", min=1)]
Batch = Annotated[int | None, typer.Option(help="images a forward pass (a function of the input's size)", min=1)]


@app.command()
def run(
    model: Model = None,
    data: Data = None,
    train: Train = None,
    config: Config = None,
    weights: Weights = None,
    model_arg: ModelArgs = None,
    probes: Probes = None,
    profile: Profile = "standard",
    device: Device = "auto",
    task: Task = None,
    out: Out = None,
    work: Work = None,
    classes: Classes = None,
    label_map: LabelMap = None,
    preprocess: Preset = None,
    mean: Mean = None,
    std: Std = None,
    resize: Resize = None,
    crop: Crop = None,
    interpolation: Interpolation = "bilinear",
    depth16: Depth16 = "full",
    seed: Seed = 0,
    batch: Batch = None,
    second_model: SecondModel = None,
    generator: OwnGenerator = None,
    plan: PlanFile = None,
    budget: BudgetTime = None,
    engine: EngineName = "local",
    workers: Workers = None,
    tune: TuneIt = False,
    precision: Precision = None,
    keep_features: Annotated[bool, typer.Option(help="write the features of every image to features.parquet")] = False,
    force: Annotated[bool, typer.Option(help="replace an audit of other inputs in --out")] = False,
) -> None:
    """Audit a model: plan, collect, judge, render."""
    from auditor.cli.request import Request
    from auditor.cli.run import run_request

    raise typer.Exit(run_request(Request(**locals_of(locals())), force=force))


@app.command()
def plan(
    model: Model = None,
    data: Data = None,
    train: Train = None,
    config: Config = None,
    weights: Weights = None,
    model_arg: ModelArgs = None,
    probes: Probes = None,
    profile: Profile = "standard",
    device: Device = "auto",
    task: Task = None,
    work: Work = None,
    classes: Classes = None,
    label_map: LabelMap = None,
    preprocess: Preset = None,
    mean: Mean = None,
    std: Std = None,
    resize: Resize = None,
    crop: Crop = None,
    interpolation: Interpolation = "bilinear",
    depth16: Depth16 = "full",
    seed: Seed = 0,
    batch: Batch = None,
    second_model: SecondModel = None,
    generator: OwnGenerator = None,
    budget: BudgetTime = None,
    tune: TuneIt = False,
    precision: Precision = None,
    save: Annotated[Path | None, typer.Option(help="write the plan to this file, for `run --plan`")] = None,
) -> None:
    """Print what `run` would do and cost, and stop."""
    from auditor.cli.request import Request
    from auditor.cli.run import plan_request

    raise typer.Exit(plan_request(Request(**locals_of(locals()))))


def locals_of(values: dict[str, Any]) -> dict[str, Any]:
    """The options of a verb as the fields of its Request."""
    return {name: value for name, value in values.items() if name not in ("force", "Request", "run_request", "plan_request")}


@app.command()
def check(
    folder: Path,
    policy: Annotated[Path | None, typer.Option("--policy", "--config", help="audit.toml with [gate]")] = None,
    baseline: Annotated[str | None, typer.Option(help="file or URL of a baseline, in the place of the policy's")] = None,
    today: Annotated[str | None, typer.Option(help="judge as on this day, such as 2026-08-31: waivers end")] = None,
    json_: Annotated[bool, typer.Option("--json", help="print the verdict as JSON")] = False,
    write: Annotated[bool, typer.Option(help="write gate.json, its exports and the page again")] = False,
    github: Annotated[bool, typer.Option(help="annotations for GitHub Actions, and the summary of the step")] = False,
    log: Annotated[list[str] | None, typer.Option(help="mlflow[:URI] or tensorboard[:FOLDER], repeatable")] = None,
) -> None:
    """Judge a saved audit under a policy: no model, no GPU, no torch."""
    from auditor.cli.check import Asked
    from auditor.cli.check import check as checked

    raise typer.Exit(checked(folder, Asked(policy, baseline, today, json_, write, github, tuple(log or ()))))


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="the audit to compare with")],
    after: Annotated[Path, typer.Argument(help="the audit of today")],
    out: Annotated[Path | None, typer.Option(help="the page (compare-BEFORE.html in the audit of today)")] = None,
    json_: Annotated[bool, typer.Option("--json", help="print the comparison as JSON, and write no page")] = False,
) -> None:
    """Compare two audits image by image: differences with intervals, every image that turned."""
    from auditor.cli.compare import run_compare

    print(run_compare(before, after, out=out, json_=json_))


@app.command()
def baseline(
    action: Annotated[str, typer.Argument(help="set or show")],
    folder: Annotated[Path | None, typer.Argument(help="of `set`: an audit that passed its gate")] = None,
    file: Annotated[
        str | None, typer.Option("--file", "--to", help="the baseline ([gate] baseline, else baseline.parquet)")
    ] = None,
    today: Annotated[str | None, typer.Option(help="the day it is set, such as 2026-08-31")] = None,
) -> None:
    """Make an accepted audit the baseline, or show the one there is."""
    from datetime import date

    from auditor.cli.baseline import set_baseline, show_baseline
    from auditor.cli.check import day

    if action == "show" and folder is None:
        print(show_baseline(file))
    elif action == "set" and folder is not None:
        print(set_baseline(folder, file, today=day(today) or date.today()))
    else:
        raise typer.BadParameter("expected `baseline set AUDIT` or `baseline show`")


@app.command()
def waive(
    folder: Annotated[Path, typer.Argument(help="the audit")],
    figure: Annotated[str, typer.Argument(help="as `check` names it: performance.recall.cat, performance.top1[mark=clean]")],
    owner: Annotated[str, typer.Option(help="who answers for it")],
    reason: Annotated[str, typer.Option(help="why it is accepted")],
    days: Annotated[int, typer.Option(help="how long it holds")] = 30,
    bound: Annotated[float | None, typer.Option(help="the figure's value beyond which it does not reach")] = None,
    id_: Annotated[str | None, typer.Option("--id", help="its name (W1, W2, ...)")] = None,
    this_model: Annotated[bool, typer.Option(help="for these weights alone")] = False,
    policy: Annotated[Path, typer.Option("--policy", "--config", help="where it is written")] = Path("audit.toml"),
    today: Annotated[str | None, typer.Option(help="the day it is granted, such as 2026-08-31")] = None,
) -> None:
    """Write a waiver for one failing figure into audit.toml: owner, reason, and an end."""
    from datetime import date

    from auditor.cli.check import day
    from auditor.cli.waive import Wanted
    from auditor.cli.waive import waive as waived

    wanted = Wanted(figure, owner, reason, days, bound, id_, this_model, policy)
    print(waived(folder, wanted, today=day(today) or date.today()), end="")


@app.command()
def verify(folder: Path) -> None:
    """Check that an audit's files are as they were written, and say where its figures come from."""
    from auditor.cli.verify import verify as verified

    print(verified(folder))


@app.command()
def render(folder: Path) -> None:
    """Make the page of a saved audit again."""
    from auditor.report import render as rendered

    print(rendered(folder))


@app.command("open")
def open_(folder: Annotated[Path, typer.Argument()] = Path("reports")) -> None:
    """Open a report in the browser."""
    import webbrowser

    page = folder / "index.html"
    if not page.exists():
        from auditor.errors import StoreError

        raise StoreError(f"{page} does not exist; give the folder of an audit, or run `auditor render {folder}`")
    webbrowser.open(page.resolve().as_uri())
    print(page)


@app.command()
def probes(
    action: Annotated[str, typer.Argument(help="list, explain or new")] = "list",
    name: Annotated[str | None, typer.Argument()] = None,
    json_: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """List the probes, explain one, or start a package with a new one."""
    from auditor.cli.probes import explain, list_probes, new

    if action == "list":
        list_probes(json_=json_)
    elif action == "explain" and name:
        explain(name)
    elif action == "new" and name:
        new(name)
    else:
        raise typer.BadParameter("expected `probes list`, `probes explain NAME` or `probes new NOUN`")


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="where to write it")] = Path("audit.toml"),
    force: Annotated[bool, typer.Option(help="replace an existing file")] = False,
    source: Annotated[Path | None, typer.Option("--from", help="an accepted audit: propose rules that it holds")] = None,
) -> None:
    """Write a commented audit.toml."""
    from auditor.cli.init import write_config

    print(write_config(path, force=force, source=source))


@app.command()
def style(
    content: Annotated[Path, typer.Argument(help="the picture whose content stays")],
    styles: Annotated[list[Path], typer.Argument(metavar="STYLE...", help="one or more pictures whose style it takes")],
    out: Annotated[Path, typer.Option(help="the picture to write: .png or .jpg")],
    model: Model = None,
    weights: Weights = None,
    model_arg: ModelArgs = None,
    device: Device = "auto",
    task: Task = None,
    preprocess: Preset = None,
    mean: Mean = None,
    std: Std = None,
    size: Annotated[int, typer.Option(help="longer side in pixels, from coarse to fine")] = 512,
    style_weight: Annotated[float, typer.Option(help="weight of the style")] = 10.0,
    content_weight: Annotated[float, typer.Option(help="weight of the content")] = 1.0,
    variation: Annotated[float, typer.Option(help="weight of the total variation: more is smoother")] = 1e-4,
    style_scale: Annotated[float, typer.Option(help="size of the style beside the picture: less gives finer strokes")] = 1.0,
    blend: Annotated[str | None, typer.Option(help="comma-separated shares of the styles; equal where not given")] = None,
    own_colours: Annotated[bool, typer.Option(help="keep the colours of the content")] = False,
    evaluations: Annotated[int, typer.Option(help="losses with gradients, for each size", min=1)] = 150,
    force: Annotated[bool, typer.Option(help="replace an existing picture")] = False,
) -> None:
    """Put a picture into the style of others, as the model sees both."""
    from auditor.cli.request import Request
    from auditor.cli.style import Wanted, run_style

    wanted = Wanted(
        content, styles, out, size, style_weight, content_weight, variation, style_scale, blend, own_colours, evaluations, force
    )
    asked = Request(
        model, weights=weights, model_arg=model_arg, device=device, task=task, preprocess=preprocess, mean=mean, std=std
    )
    run_style(wanted, asked)


@app.command()
def convert(
    source: Path,
    out: Path,
    trust_code: Annotated[bool, typer.Option(help="unpickle it in a child process: the file can run code there")] = False,
) -> None:
    """Turn a checkpoint into safetensors."""
    from auditor.convert import convert as converted

    print(converted(source, out, trust_code=trust_code))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="folder of the reports")] = Path("reports"),
    only: Annotated[str | None, typer.Option(help="comma-separated: digits, digits-flawed, photographs")] = None,
    profile: Profile = "quick",
    work: Work = None,
) -> None:
    """Audit the embedded models and render their reports."""
    from auditor.cli.demo import run_demo

    raise typer.Exit(run_demo(out, only=only, profile=profile, work=work))


def main() -> None:
    """Entry point: every AuditError is one line and its exit code, Ctrl-C is 130, a fault of our own is 70."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except AuditError as error:
        message = " ".join(str(error).split())
        print(f"auditor: {message}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception:  # noqa: BLE001 - the last resort: never exit code 1, which means "gate failed"
        import traceback

        traceback.print_exc()
        print("auditor: a fault of our own, not of your model or data; please report the lines above", file=sys.stderr)
        sys.exit(70)
