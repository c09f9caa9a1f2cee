"""The picture of growth."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.compare import Turns


def growth(table: Mapping[str, Turns], user: Mapping[str, Turns], path: Path) -> None:
    """Medians in milliseconds against sizes, both logarithmic; the same file for the same numbers."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams |= {"svg.hashsalt": "tend", "svg.fonttype": "none", "font.size": 9}
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
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
