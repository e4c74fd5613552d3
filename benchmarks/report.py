"""From results to what people read: `results.json`, `results.md`, one plot per case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_report(out: Path, machine: dict[str, Any], results: list[dict[str, Any]], command: str) -> None:
    """Write all files; called after every comparison, so that an interrupted run leaves what it has."""
    out.mkdir(parents=True, exist_ok=True)
    document = {"command": command, "machine": machine, "results": results}
    (out / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    for result in results:
        plot(result, out / plot_name(result))
    (out / "results.md").write_text(markdown(machine, results, command, out))


def plot_name(result: dict[str, Any]) -> str:
    """File name of a case's plot."""
    return f"{result['comparison']}-{result['case']}.png".replace(" ", "_").replace(",", "")


def markdown(machine: dict[str, Any], results: list[dict[str, Any]], command: str, out: Path) -> str:
    """The tables, with the plots that are in `out`."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = ["# Benchmark results", "", f"`{command}`", "", f"{machine_line(machine)}. {versions}.", ""]
    title = None
    for result in results:
        if result["title"] != title:
            title = result["title"]
            lines += [f"## {title}", ""]
        lines += [f"### {result['case']}", "", *_times(result), *_checks(result), *_floor(result)]
        if (out / plot_name(result)).is_file():
            lines += [f"![Seconds of each peer and the floor]({plot_name(result)})", ""]
    return "\n".join(lines).rstrip() + "\n"


def machine_line(machine: dict[str, Any]) -> str:
    """One line that says where it ran."""
    if "gpu" in machine:
        return f"{machine['gpu']}, {machine['system']}"
    return (
        f"{machine['cpu']}, {machine['cores']} cores ({', '.join(machine['flags']) or 'no vector extensions found'}), "
        f"threads {machine['threads']}, load before {machine['load_before']}"
    )


def _times(result: dict[str, Any]) -> list[str]:
    if not any("median" in peer or "error" in peer for peer in result["peers"].values()):
        return []
    unit, ours = result["unit"], result["ours"]
    head = f"| | median s | quartiles | {unit}/s | times ours | extra memory MB | share of the floor |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for name, peer in result["peers"].items():
        if "median" not in peer:
            lines.append(f"| {name} | failed: {peer.get('error', 'no time')} | | | | | |")
            continue
        ratio = result["ratios"].get(name)
        times = "1" if name == ours else ""
        if ratio:
            times = f"**{ratio['median']:.2f}** ({ratio['low']:.2f}-{ratio['high']:.2f})"
        share = f"{100 * peer['share_of_floor']:.0f} %" if "share_of_floor" in peer else ""
        cells = (
            name,
            f"{peer['median']:.4g}",
            f"{peer['low']:.4g}-{peer['high']:.4g}",
            f"{peer['per_second']:.4g}",
            times,
            f"{peer.get('extra_memory_bytes', 0) / 1e6:.0f}",
            share,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _checks(result: dict[str, Any]) -> list[str]:
    checked = {name: peer["check"] for name, peer in result["peers"].items() if peer.get("check")}
    if not checked:
        return []
    rows = list(dict.fromkeys(key for values in checked.values() for key in values))
    lines = [f"| | {' | '.join(checked)} |", "|---" * (len(checked) + 1) + "|"]
    for row in rows:
        cells = [f"{values[row]:.6g}" if row in values else "" for values in checked.values()]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return [*lines, ""]


def _floor(result: dict[str, Any]) -> list[str]:
    floor = result.get("floor")
    if not floor or "seconds" not in floor:
        return []
    moved = floor["seconds"] - floor["products_seconds"]
    parts = f"{floor['products_seconds']:.4g} s of products and {moved:.4g} s of traffic"
    return [f"Floor {floor['seconds']:.4g} s: {parts}.", ""]


def plot(result: dict[str, Any], path: Path) -> None:
    """Bars of the medians with quartiles, and the floor as a line; nothing without matplotlib or without a time."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    peers = {name: peer for name, peer in result["peers"].items() if "median" in peer}
    if len(peers) < 2:
        return
    figure = Figure(figsize=(8, 0.5 * len(peers) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    names = list(peers)[::-1]
    middle = [peers[name]["median"] for name in names]
    error = [
        [peers[name]["median"] - peers[name]["low"] for name in names],
        [peers[name]["high"] - peers[name]["median"] for name in names],
    ]
    colours = ["#2f5fd0" if name.startswith("mlcl") or name == result["ours"] else "#8a8f99" for name in names]
    axes.barh(names, middle, xerr=error, color=colours)
    floor = (result.get("floor") or {}).get("seconds")
    if floor:
        axes.axvline(floor, color="#e08a2c", linestyle="--", label="floor")
        axes.legend(frameon=False)
    axes.set_xlabel("seconds per repetition (median, quartiles)")
    axes.set_title(f"{result['title']}: {result['case']}", fontsize=10)
    figure.savefig(path, dpi=120)
