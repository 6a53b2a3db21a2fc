"""Published methods of others, as we implemented them, to compare with."""

from napari_stsr.methods.peers.bayesspace import BayesSpace
from napari_stsr.methods.peers.card import Card
from napari_stsr.methods.peers.stage import Stage

__all__ = ["BayesSpace", "Card", "Stage"]
