"""The pictures: growth, and the times of sign-ins."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.compare import Turns


def growth(table: Mapping[str, Turns], user: Mapping[str, Turns], path: Path) -> None:
    """Medians in milliseconds against sizes, both logarithmic; the same file for the same numbers."""
    plt = _pyplot()
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    titles = ("Tasks of all users; the user's own stay the same", "Tasks of the user, in the largest table")
    for axis, measured, title in zip(axes, (table, user), titles, strict=True):
        for name, turns in measured.items():
            sizes = sorted(turns.latencies, key=int)
            dashed = "--" if name not in table else "-"
            axis.plot([int(s) for s in sizes], [turns.latency(s) for s in sizes], dashed, marker="o", ms=4, label=name)
        axis.set(xscale="log", yscale="log", title=title, xlabel="tasks")
        axis.grid(visible=True, which="major", alpha=0.3)
    axes[0].set_ylabel("median, ms")
    axes[1].legend(frameon=False)
    _save(figure, path)


def distributions(answers: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> None:
    """For each route, how many answers of each kind came after how many milliseconds."""
    figure, axes = _pyplot().subplots(1, len(answers), figsize=(10, 3.4), layout="constrained")
    for axis, (name, sides) in zip(axes, answers.items(), strict=True):
        times = {side: sorted(each * 1_000 for each in found) for side, found in sides.items()}
        last = max(found[int(len(found) * 0.98)] for found in times.values())
        for side, found in times.items():
            axis.hist(found, bins=40, range=(0, last), histtype="step", linewidth=1.5, label=side)
        axis.set(title=name, xlabel="ms until the answer", ylabel="answers")
        axis.grid(visible=True, alpha=0.3)
        axis.legend(frameon=False)
    _save(figure, path)


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams |= {"svg.hashsalt": "tend", "svg.fonttype": "none", "font.size": 9}
    return plt


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    _pyplot().close(figure)


def soak(seconds: Sequence[Mapping[str, float]], path: Path) -> None:
    """Requests, times and memory over the minutes of a run, on a common axis."""
    figure, axes = _pyplot().subplots(3, 1, figsize=(10, 8), sharex=True, layout="constrained")
    minutes = [second["number"] / 60 for second in seconds]

    def draw(axis: Any, name: str, label: str, **style: Any) -> None:
        axis.plot(minutes, [second[name] for second in seconds], label=label, linewidth=1.2, **style)

    draw(axes[0], "requests", "answers")
    axes[0].set(ylabel="a second", ylim=(0, None), title="Answers")
    for name, label in (("p50", "half of all"), ("p95", "95 %"), ("p99", "99 %"), ("probe", "/health/live")):
        draw(axes[1], name, label)
    axes[1].set(ylabel="ms", yscale="log", title="Time until the answer, from when it was due")
    draw(axes[2], "worker", "worker (RSS)")
    draw(axes[2], "postgres", "Postgres (PSS)")
    axes[2].set(ylabel="MB", ylim=(0, None), xlabel="minutes", title="Memory")
    for axis in axes:
        axis.grid(visible=True, alpha=0.3)
    for axis in axes[1:]:
        axis.legend(frameon=False, ncols=4)
    _save(figure, path)
