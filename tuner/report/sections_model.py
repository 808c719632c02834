"""The sections of a report that tell of the exported model, and of what the search ran with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tuner.packing import AUTO
from tuner.report import charts_model
from tuner.report.html import Html, details, join, paragraph, table, tag, text
from tuner.report.layout import Page
from tuner.report.record import StudyDetail

if TYPE_CHECKING:
    from tuner.report.exported import ExportedModel, Mistake


def exported_model(page: Page, detail: StudyDetail, model: ExportedModel) -> None:
    """Figures, confusion matrix, classes and mistakes of an export."""
    metrics = model.metrics
    trial, best = metrics["validation"]["trial"], detail.study.best
    confirms = any(one.number == trial and one.confirms is not None for one in detail.study.trials)
    older = best is not None and best.trial != trial and not confirms
    refit = metrics.get("refit")
    again = f" trained once more on {refit['pictures']} training and validation pictures," if refit else ""
    content = [
        paragraph(
            f"Trial {trial}, epoch {metrics['validation']['epoch']},{again} measured once on {metrics['test_size']} "
            f"test pictures, which played no part in the search."
            + (f" The search has found a better one since: trial {best.trial}." if older and best is not None else "")
        ),
        tag(
            "div",
            *(
                tag("div", tag("b", text(f"{metrics[key]:.4f}")), tag("span", text(name)), class_="tile")
                for key, name in (
                    ("accuracy", "test accuracy"),
                    ("f1", "F1, mean of classes"),
                    ("precision", "precision, mean of classes"),
                    ("recall", "recall, mean of classes"),
                )
            ),
            class_="tiles",
        ),
        *_files(page, model),
        tag("h3", text("Confusion matrix")),
        paragraph(
            "Rows are the true classes, columns what the model says; each row is coloured by its share.", "quiet"
        ),
        page.draw("confusion", charts_model.confusion(metrics["confusion_matrix"], model.classes), "confusion matrix"),
        tag("h3", text("Classes, the hardest first")),
        _per_class(model),
    ]
    page.section("model", "Exported model", *content, *_mistakes(model), short="Model")


def _files(page: Page, model: ExportedModel) -> list[Html]:
    """Size, accuracy and speed of each exported file; nothing of exports from before they were measured."""
    models = model.metrics.get("models")
    if not models:
        return []
    sizes = sorted({size for entry in models.values() for size in entry["latency"]}, key=int)
    rows = [
        [
            tag("code", text(name)),
            entry["precision"],
            f"{entry['bytes'] / 1e6:.2f}",
            f"{entry['accuracy']:.4f}",
            *(f"{entry['latency'][size]['median_ms']:.3g} / {entry['latency'][size]['p99_ms']:.3g}" for size in sizes),
        ]
        for name, entry in models.items()
    ]
    headings = ["file", "precision", "MB", "accuracy", *(f"ms for {size}" for size in sizes)]
    cpu = model.metrics.get("machine", {}).get("cpu", "the machine that exported")
    return [
        tag("h3", text("Accuracy against latency and size")),
        paragraph(
            f"Median and 99th percentile of the time of one call with so many pictures, on one core of {cpu}.", "quiet"
        ),
        table(headings, rows, numbers=range(2, len(headings))),
        page.draw("latency", charts_model.accuracy_by_latency(models), "accuracy over latency"),
    ]


def _per_class(model: ExportedModel) -> Html:
    matrix, classes = model.metrics["confusion_matrix"], model.classes
    rows: list[tuple[float, list[object]]] = []
    for index, (name, one) in enumerate(model.metrics["per_class"].items()):
        others = [(count, classes[column]) for column, count in enumerate(matrix[index]) if column != index and count]
        taken = ", ".join(f"{other} ({count})" for count, other in sorted(others, key=lambda pair: -pair[0])[:3])
        figures = [f"{one[key]:.3f}" for key in ("precision", "recall", "f1")]
        rows.append((one["f1"], [name, *figures, one["support"], tag("span", text(taken), class_="long")]))
    rows.sort(key=lambda row: row[0])
    headings = ["class", "precision", "recall", "F1", "pictures", "taken for"]
    return table(headings, [row for _, row in rows], numbers=(1, 2, 3, 4))


def _mistakes(model: ExportedModel) -> list[Html]:
    title = tag("h3", text("Most confident mistakes"))
    if model.note:
        return [title, paragraph(f"The test pictures cannot be shown: {model.note}", "quiet")]
    if not model.mistakes:
        return [title, paragraph("The model gets no test picture wrong.")]
    explained = [mistake for mistake in model.mistakes if mistake.heat]
    others = [mistake for mistake in model.mistakes if not mistake.heat]
    words = f"{len(model.mistakes)} of the {model.wrong} test pictures that the model gets wrong, the surest first."
    if explained:
        words += " Beside the first ones Grad\N{NON-BREAKING HYPHEN}CAM: bright is what spoke for the wrong class."
    parts = [title, paragraph(words, "quiet")]
    if explained:
        parts.append(tag("div", *map(_picture, explained), class_="pictures pairs"))
    if others:
        parts.append(tag("div", *map(_picture, others), class_="pictures"))
    return parts


def _picture(mistake: Mistake) -> Html:
    images = [Html(f'<img src="{text(mistake.picture)}" alt="{text(mistake.true)}">')]
    if mistake.heat:
        images.append(Html(f'<img class="smooth" src="{text(mistake.heat)}" alt="Grad-CAM">'))
    caption = join(
        [
            tag("b", text(mistake.predicted)),
            text(f" {mistake.confidence:.1%}, truly "),
            tag("em", text(mistake.true)),
            text(f" {mistake.in_truth:.1%}"),
        ]
    )
    return tag("figure", tag("div", *images), tag("figcaption", caption), title=mistake.path)


def environment(page: Page, detail: StudyDetail) -> None:
    """Seeds, data, devices and versions."""
    spec = detail.spec
    rows: list[list[object]] = [
        [
            "data set",
            f"{spec.data.default_name}, {spec.data.val_fraction:.0%} of it for validation where it has no own",
        ],
        ["fingerprint of the data", tag("code", text(spec.data_fingerprint[:16]))],
        ["seed of the search", spec.seed],
        ["seed of trial N", f"{spec.seed} x 1000003 + N"],
        ["devices", _devices(detail)],
        ["asked for", _resources(detail)],
    ]
    if spec.model is not None and spec.model.sha256:
        rows.append(["source of the network", tag("code", text(f"{spec.model.name} {spec.model.sha256[:16]}"))])
    newest = detail.study.environments[-1] if detail.study.environments else None
    if newest is not None:
        rows.append(["tuner", _tuner(newest)])
        rows.append(["Python", f"{newest['python']} on {newest['system']}"])
        rows += [[name, version] for name, version in newest["packages"].items()]
    content = [table(["", ""], [[name, _long(value)] for name, value in rows])]
    if newest is None:
        content.append(
            paragraph("The versions that this study ran with were not recorded: it is from before they were.", "quiet")
        )
    if len(detail.study.environments) > 1:
        runs = [
            [_utc(one["started_s"]), one["host"], _tuner(one), one["packages"].get("torch", "")]
            for one in detail.study.environments
        ]
        content.append(
            details(
                f"The search ran {len(runs)} times (it was resumed)",
                table(["began", "driver on", "tuner", "torch"], runs),
            )
        )
    page.section("environment", "Environment", *content)


def _long(value: object) -> object:
    return value if isinstance(value, Html) else tag("span", text(value), class_="long")


def _tuner(one: dict[str, object]) -> str:
    commit = str(one.get("commit", ""))
    if not commit:
        return str(one["tuner"])
    return f"{one['tuner']}, commit {commit[:12]}" + (", changed since" if commit.endswith("+") else "")


def _devices(detail: StudyDetail) -> str:
    """`2 x NVIDIA H100 on 1 host`: worker processes by their device."""
    workers = {epoch.worker for trial in detail.trials for epoch in trial.epochs}
    devices: dict[str, set[str]] = {}
    for worker in workers:
        place, _, device = worker.partition(" (")
        devices.setdefault(device.removesuffix(")") or "unknown", set()).add(place.rpartition(":")[0])
    return "; ".join(f"{device} on {_hosts(sorted(hosts))}" for device, hosts in sorted(devices.items())) or "none yet"


def _hosts(hosts: Sequence[str]) -> str:
    return ", ".join(hosts) if len(hosts) <= 4 else f"{len(hosts)} machines"


def _resources(detail: StudyDetail) -> str:
    resources = detail.spec.resources
    if resources.gpus == 0:
        return f"{resources.workers} trials at once on CPUs"
    gpus = "all GPUs" if resources.gpus is None else f"{resources.gpus} GPUs"
    if resources.trials_per_gpu == 1:
        return gpus
    many = "as many trials as fit" if resources.trials_per_gpu == AUTO else f"{resources.trials_per_gpu} trials"
    return f"{gpus}, {many} sharing each"


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
