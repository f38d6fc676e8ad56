"""The command line: ask · demo · evaluate · calibrate · new · validate · serve · train. Each room is imported when its command runs.

Wrong input exits with 2 and says what is allowed; anything else that fails exits with 1.
"""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from tutor.config import SettingError, Settings

if TYPE_CHECKING:
    from tutor.chat import Reply, Turn, Tutor
    from tutor.question import Language

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="The deep-learning interview tutor.")

Lang = Annotated[str | None, typer.Option("--lang", help="zh or en.")]
KnowledgeOption = Annotated[Path | None, typer.Option("--knowledge", help="Folder of the questions.")]
EncoderOption = Annotated[str | None, typer.Option("--encoder", help="Bundled name, folder or hub id of a sentence-transformers model.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _refuse(message: object, code: int = 2) -> NoReturn:
    typer.echo(str(message), err=True)
    raise typer.Exit(code)


def _settings(knowledge: Path | None = None, encoder: str | None = None) -> Settings:
    try:
        settings = Settings.from_environment()
    except SettingError as error:
        _refuse(error)
    return dataclasses.replace(settings, knowledge=knowledge or settings.knowledge, encoder=encoder or settings.encoder)


def _language(raw: str | None) -> Language | None:
    if raw not in (None, "zh", "en"):
        _refuse(f"--lang {raw} is not a language here; there are: zh, en")
    return raw  # type: ignore[return-value]  # narrowed by the line above


def _tutor(settings: Settings) -> Tutor:
    from tutor.calibration import CalibrationError
    from tutor.chat import Tutor
    from tutor.encoder import EncoderError
    from tutor.knowledge import KnowledgeBase, KnowledgeError

    try:
        knowledge = KnowledgeBase.load(settings.knowledge)
        for fault in knowledge.faults:
            typer.echo(f"left out: {fault}", err=True)
        return Tutor.load(knowledge, settings)
    except (KnowledgeError, EncoderError, CalibrationError) as error:
        _refuse(error, 1)


@app.command()
def ask(
    question: Annotated[str | None, typer.Argument(help="The question.")] = None,
    as_json: JsonOption = False,
    lang: Lang = None,
    batch: Annotated[
        str | None, typer.Option(help="File with one question a line, or - for standard input; prints one JSON object a line.")
    ] = None,
    knowledge: KnowledgeOption = None,
    encoder: EncoderOption = None,
) -> None:
    """Answer a question."""
    from tutor.chat import MessageError

    language = _language(lang)
    if (question is None) == (batch is None):
        _refuse("give a question, or --batch FILE")
    lines = [question] if question is not None else list(_lines(batch or "-"))
    tutor = _tutor(_settings(knowledge, encoder))
    for number, line in enumerate(lines, start=1):
        try:
            reply = tutor.reply(line, language=language)
        except MessageError as error:
            if batch is None:
                _refuse(f"{error.text.zh} / {error.text.en}")
            # One object a line out for each line in: a line that cannot be asked still gets its own.
            typer.echo(json.dumps({"question": line, "line": number, "error": error.text.en}, ensure_ascii=False))
            continue
        if as_json or batch is not None:
            typer.echo(json.dumps(tutor.record(reply), ensure_ascii=False))
        else:
            _print_reply(tutor, reply)


def _lines(name: str) -> Iterator[str]:
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        # Not str.splitlines: it also splits at a form feed and at Unicode's own separators.
        yield from (line.removesuffix("\n") for line in io.StringIO(content.decode("utf-8-sig"), newline=None))
    except (OSError, UnicodeDecodeError) as error:
        _refuse(f"--batch {name}: {error}")


def _print_reply(tutor: Tutor, reply: Reply) -> None:
    for part in reply.turn.parts:
        if reply.turn.further:
            typer.secho(f"\n> {part.part or part.message}", bold=True)
        _print_turn(tutor, part)


def _print_turn(tutor: Tutor, turn: Turn) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    console, language = Console(), turn.language
    if turn.decision.value != "answer":
        console.print(_unanswered(tutor, turn))
        for question in tutor.questions(turn):
            console.print(f"  {question.meta.section or '–'}  {question.meta.question[language]}")
        return
    question = tutor.questions(turn)[0]
    answer = question.answers[language]
    headings = {"zh": ("易错点", "原文勘误"), "en": ("Common mistakes", "Corrections to the source")}[language]
    parts = [f"# {question.meta.question[language]}", answer.short, answer.full, f"## {headings[0]}", answer.mistakes]
    parts += [f"## {headings[1]}", answer.corrections] if answer.corrections else []
    parts += [f"- {reference.authors} ({reference.year}). {reference.title}. {reference.url}" for reference in question.meta.references]
    if question.meta.demo:
        parts.append(f"▶ `python -m tutor demo {question.meta.demo.id} --preset {question.meta.demo.preset}`")
    console.print(Markdown("\n\n".join(parts)))


def _unanswered(tutor: Tutor, turn: Turn) -> str:
    if turn.decision.value == "suggest":
        return {"zh": "可能是这些问题：", "en": "Did you mean one of these?"}[turn.language]
    if name := tutor.outside_name(turn):
        return {
            "zh": f"这是关于{name}的问题，不在收录范围之内。最接近的是：",
            "en": f"That is about {name}, which is not covered. Nearest here:",
        }[turn.language]
    return {"zh": "这个问题不在收录范围之内。", "en": "This one is not covered."}[turn.language]


@app.command()
def demo(
    name: Annotated[str | None, typer.Argument(metavar="ID", help="The experiment, such as learning_rate_sweep.")] = None,
    all_demos: Annotated[bool, typer.Option("--all", help="Run every preset of every experiment, and keep their verdicts.")] = False,
    preset: Annotated[str | None, typer.Option(help="A preset; the first if not given.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter; may be repeated. data=@FILE takes a CSV.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cuda, mps or cpu; the best one if not given.")] = None,
    seed: Annotated[int, typer.Option(help="0 … 2147483647.")] = 0,
    deadline: Annotated[float, typer.Option(help="Seconds after which a run is stopped.")] = 600,
    as_json: JsonOption = False,
    lang: Lang = None,
) -> None:
    """Run a live experiment on this machine, or all of them."""
    from demos.core.parameters import ParameterError
    from demos.core.registry import load_demos
    from demos.core.report import report
    from demos.core.runner import DeadlineReached
    from tutor import demo_command
    from tutor.results import ResultFile, keep

    language, demos, kept = _language(lang) or "en", load_demos(), ResultFile(_settings().results)
    if all_demos:
        if name or preset or changes:
            _refuse("--all runs every preset as it is: it takes no ID, no --preset and no --set")
        results = demo_command.run_all(demos, device, seed, deadline, language, kept, quiet=as_json)
        raise typer.Exit(0 if demo_command.print_all(results, language, as_json) else 1)
    if name is None or name not in demos:
        _refuse((f"there is no experiment called {name}" if name else "name an experiment, or --all") + f"; there are: {', '.join(demos)}")
    found = demos[name]
    preset = preset or found.default_preset
    try:
        parameters = demo_command.parse(found, preset, changes or [])
        frame, _ = demo_command.run_one(found, preset, parameters, device, seed, deadline, language, quiet=as_json)
    except demo_command.CommandError as error:
        _refuse(error)
    except ParameterError as error:
        _refuse(error.text[language])
    except DeadlineReached as error:
        _refuse(error.text[language], 1)
    keep(found, preset, parameters, seed, frame, kept)
    result = report(found, preset, parameters, seed, frame, language)
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
    else:
        demo_command.print_one(result, language)


@app.command()
def evaluate(
    file: Annotated[Path, typer.Argument(help="TSV with the columns lang, kind (in, near, far), sections, query.")],
    as_json: JsonOption = False,
    sections: Annotated[bool, typer.Option("--sections", help="Accuracy by question as well.")] = False,
    errors: Annotated[bool, typer.Option("--errors", help="List the queries whose best question is wrong.")] = False,
    knowledge: KnowledgeOption = None,
    encoder: EncoderOption = None,
) -> None:
    """Accuracy, AUROC, what is answered and abstained, and how sure answers fare: by language, with 95 % bootstrap intervals."""
    from tutor.evaluation import by_section, intervals, outcomes_of
    from tutor.evaluation import evaluate as evaluated
    from tutor.labelled import LabelledQueryError, load_labelled_queries

    try:
        rows = load_labelled_queries(file)
    except LabelledQueryError as error:
        _refuse(error)
    tutor = _tutor(_settings(knowledge, encoder))
    outcomes = outcomes_of(tutor.retriever, tutor.knowledge, rows)
    figures, spread = evaluated(outcomes), intervals(outcomes, samples=500)
    data: dict[str, Any] = {
        language: {
            name: {"value": _json_number(value), "interval": list(map(_json_number, spread[language][name]))}
            for name, value in of_language.items()
        }
        for language, of_language in figures.items()
    }
    tables = {"": data}
    if sections:
        tables["accuracy@1"] = {
            language: {
                name: {"value": value, "interval": interval, "queries": count}
                for name, (value, interval, count) in by_section(outcomes, tutor.knowledge, language, samples=500).items()
            }
            for language in figures
        }
    wrong = [outcome for outcome in outcomes if outcome.row.kind == "in" and not outcome.right] if errors else []
    if as_json:
        listed = [
            {"query": item.row.query, "expected": item.row.answers, "found": item.found, "confidence": item.confidence} for item in wrong
        ]
        typer.echo(
            json.dumps({"figures": data, "sections": tables.get("accuracy@1"), "errors": listed if errors else None}, ensure_ascii=False)
        )
        return
    for title, content in tables.items():
        _print_figures(title, content)
    for item in wrong:
        typer.echo(f"{item.row.language} {'/'.join(item.row.answers)} <- {item.found} ({item.confidence:.2f}): {item.row.query}")


def _json_number(value: float) -> float | None:
    """JSON knows no NaN."""
    return value if math.isfinite(value) else None


def _print_figures(title: str, data: dict[str, dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title, *data)
    for name in dict.fromkeys(name for of_language in data.values() for name in of_language):
        cells = [of_language.get(name) for of_language in data.values()]
        table.add_row(
            name,
            *("" if cell is None else f"{cell['value']:.3f} ({cell['interval'][0]:.3f} … {cell['interval'][1]:.3f})" for cell in cells),
        )
    Console().print(table)


@app.command()
def calibrate(
    encoder: EncoderOption = None,
    queries: Annotated[Path | None, typer.Option(help="Labelled queries (TSV); the shipped ones if not given.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where to write; beside the weights of a local encoder if not given.")] = None,
) -> None:
    """Fit the confidence of an encoder to labelled queries, and write its calibration.json."""
    from tutor.calibration import KNOWLEDGE, QUERIES, CalibrationError
    from tutor.calibration import calibrate as calibrated
    from tutor.encoder import EncoderError, encoder_folder, fingerprint, load_encoder
    from tutor.knowledge import KnowledgeBase
    from tutor.labelled import LabelledQueryError, load_labelled_queries

    settings = _settings(encoder=encoder)
    folder = encoder_folder(settings.encoder)
    path = output or (folder / "calibration.json" if folder else None)
    if path is None:
        _refuse(f"{settings.encoder} has no folder on this machine to write to: name a file with --output")
    try:
        rows = load_labelled_queries(queries or QUERIES)
        loaded = load_encoder(settings.encoder)
        calibration = calibrated(KnowledgeBase.load(KNOWLEDGE), loaded, rows, fingerprint(settings.encoder), settings.cache)
        calibration.save(path)
    except LabelledQueryError as error:
        _refuse(error)
    except (EncoderError, CalibrationError, OSError) as error:
        _refuse(error, 1)
    for language, scale in calibration.scales.items():
        typer.echo(f"{language}: in scope from {scale.in_scope:.3f}, answered from {scale.answer:.3f}, sure from {scale.sure:.3f}")
    typer.echo(f"the calibration is in {path}")


@app.command()
def new(
    question: Annotated[str, typer.Argument(help="The question, in Chinese or English.")],
    topic: Annotated[str, typer.Option(help="The folder it goes to.")],
    name: Annotated[
        str | None, typer.Option("--id", help="Its id: lower-case words joined by hyphens; made from an English question.")
    ] = None,
    knowledge: KnowledgeOption = None,
) -> None:
    """Write the template of a new question; `validate` then names each line that is still to be filled in."""
    from tutor.template import TemplateError, write_template

    folder = _settings(knowledge).knowledge
    try:
        path = write_template(folder, topic, question, name)
    except TemplateError as error:
        _refuse(error)
    typer.echo(f"{path}: fill it in, then run: python -m tutor validate --knowledge {folder}")


@app.command()
def validate(knowledge: KnowledgeOption = None) -> None:
    """Check every question file; each fault is printed as file:line: message."""
    from demos.core.registry import load_demos
    from tutor.knowledge import KnowledgeBase, KnowledgeError

    folder = _settings(knowledge).knowledge
    try:
        base = KnowledgeBase.load(folder, {name: demo.presets for name, demo in load_demos().items()})
    except KnowledgeError as error:
        _refuse(error, 1)
    for fault in base.faults:
        typer.echo(f"{folder.resolve().name}/{fault}", err=True)
    typer.echo(f"{len(base.questions)} questions are sound, {len(base.faults)} faults")
    if base.faults:
        raise typer.Exit(1)


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="The first free one from 7860 if not given.")] = None,
    knowledge: KnowledgeOption = None,
    encoder: EncoderOption = None,
    mcp: Annotated[bool, typer.Option("--mcp", help="Serve the Model Context Protocol as well (extra `mcp`).")] = False,
) -> None:
    """Start the page."""
    from tutor.knowledge import KnowledgeError
    from tutor.ui.app import serve as serve_page

    settings = _settings(knowledge, encoder)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        serve_page(dataclasses.replace(settings, mcp=mcp or settings.mcp), server_port=port)
    except (KnowledgeError, SettingError) as error:
        _refuse(error, 1)


@app.command()
def train(
    corpus: Annotated[Path, typer.Option(help="The parallel corpus, a gzipped TSV of zh, en, source.")] = Path(
        "../shared/data/parallel.zh-en.tsv.gz"
    ),
    output: Annotated[Path | None, typer.Option(help="Where the model goes; the shipped one is replaced if not given.")] = None,
    knowledge: KnowledgeOption = None,
) -> None:
    """Make the shipped encoder from the corpus (extra `train`)."""
    from tutor.calibration import CalibrationError
    from tutor.encoder import DEFAULT_ENCODER, MODELS
    from tutor.knowledge import KnowledgeBase
    from tutor.training.corpus import CorpusError
    from tutor.training.teacher import TeacherError
    from tutor.training.train import train as trained

    settings = _settings(knowledge)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        folder = trained(corpus, KnowledgeBase.load(settings.knowledge), output or MODELS / DEFAULT_ENCODER, cache_dir=settings.cache)
    except (CorpusError, TeacherError, CalibrationError) as error:
        _refuse(error, 1)
    typer.echo(f"the encoder is in {folder}")


if __name__ == "__main__":
    app()
