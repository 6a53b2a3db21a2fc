"""The genes of a slide: unique ids, the symbols people type, and the search over both."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError


@dataclass(frozen=True, eq=False)
class Genes:
    """Gene ids and symbols, in the column order of the counts.

    Parameters
    ----------
    ids : (g,) array of str
        Unique keys, usually Ensembl ids.
    symbols : (g,) array of str
        Names to show; they may repeat.
    """

    ids: NDArray[np.str_]
    symbols: NDArray[np.str_]

    def __post_init__(self) -> None:
        if self.ids.shape != self.symbols.shape:
            raise InputError(f"{self.ids.size} gene ids but {self.symbols.size} gene symbols.")
        if np.unique(self.ids).size != self.ids.size:
            raise InputError(
                "Gene ids repeat.", "Give every gene a unique id, for example its Ensembl id."
            )

    def __len__(self) -> int:
        return int(self.ids.size)

    def __contains__(self, gene: str) -> bool:
        """Whether there is a gene of this id or symbol, in any case."""
        return gene.strip().casefold() in self._column_of

    @cached_property
    def _column_of(self) -> dict[str, int]:
        """Column of every id and of every symbol; an id wins over a symbol of the same name."""
        columns: dict[str, int] = {}
        for column, symbol in enumerate(self.symbols.tolist()):
            columns.setdefault(symbol.casefold(), column)
        for column, gene_id in enumerate(self.ids.tolist()):
            columns[gene_id.casefold()] = column
        return columns

    def column(self, gene: str) -> int:
        """Column of one gene, given by id or symbol in any case.

        Raises
        ------
        InputError
            When the slide has no such gene; the message names close matches.
        """
        column = self._column_of.get(gene.strip().casefold())
        if column is not None:
            return column
        near = difflib.get_close_matches(gene.strip().casefold(), self._column_of, n=3)
        shown = [self.label(self._column_of[name]) for name in near]
        hint = f"Did you mean {', '.join(shown)}?" if shown else "Check the species and spelling."
        raise InputError(f"This slide has no gene named {gene!r}.", hint)

    def columns(self, genes: Iterable[str]) -> NDArray[np.int64]:
        """Columns of several genes, in the order given."""
        return np.array([self.column(gene) for gene in genes], dtype=np.int64)

    def label(self, column: int) -> str:
        """Symbol of a column, or its id where it has no symbol."""
        return str(self.symbols[column]) or str(self.ids[column])

    def take(self, columns: NDArray[np.int64]) -> Genes:
        """Return the genes of the given columns."""
        return Genes(self.ids[columns], self.symbols[columns])

    @cached_property
    def _lowered(self) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
        return np.char.lower(self.symbols), np.char.lower(self.ids)

    def search(self, query: str, limit: int = 50) -> NDArray[np.int64]:
        """Columns that match a query, best first.

        Exact names come first, then names that start with the query, then names that contain
        it; shorter names first within a rank.
        """
        text = query.strip().lower()
        if not text:
            return np.arange(min(limit, len(self)), dtype=np.int64)
        symbols, ids = self._lowered
        rank = np.full(len(self), 9, dtype=np.int64)
        for score, hit in (
            (3, np.char.find(ids, text) >= 0),
            (2, np.char.find(symbols, text) >= 0),
            (1, np.char.startswith(symbols, text) | np.char.startswith(ids, text)),
            (0, (symbols == text) | (ids == text)),
        ):
            rank[hit] = score
        found = np.flatnonzero(rank < 9)
        order = np.lexsort((symbols[found], np.char.str_len(symbols[found]), rank[found]))
        return found[order[:limit]].astype(np.int64)
