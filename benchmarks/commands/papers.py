"""The verbs about published numbers: papers, reproducibility."""

from __future__ import annotations

import argparse

from cimbench.benchmarks.suite.compose import table_names


def papers(_suite: None, arguments: argparse.Namespace) -> str:
    """Write the papers' tables: published numbers beside what was measured here."""
    from cimbench.benchmarks.report.papers.spec import load_paper_table
    from cimbench.benchmarks.report.papers.tables import write_paper_table

    told = []
    for name in arguments.tables or table_names():
        paths, cells = write_paper_table(load_paper_table(name))
        measured, published = (
            sum(map(bool, found)) for found in zip(*((c.values, c.published) for c in cells), strict=True)
        )
        told.append(f"{paths[0]}: {measured} of {len(cells)} cells measured, {published} published")
    return "\n".join(
        [*told, "Next: dvc exp run -S suite=NAME, for a suite that a table names; then cimbench papers again"]
    )


def arguments_of_papers(parser: argparse.ArgumentParser) -> None:
    """Which tables."""
    parser.add_argument("tables", nargs="*", help=f"names (default: all, {', '.join(table_names())})")


def reproducibility(_suite: None, _arguments: argparse.Namespace) -> str:
    """Write REPRODUCIBILITY.md: published and measured numbers, deviations, what the errata's switches do."""
    from cimbench.benchmarks.report.papers.reproducibility import write_reproducibility

    return f"{write_reproducibility()}: written from results/. Next: read it"
