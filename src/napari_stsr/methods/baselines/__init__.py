"""Simple baselines to judge every method by; the best serve as instant preview."""

from napari_stsr.methods.baselines.factor_kernel import FactorKernel
from napari_stsr.methods.baselines.gene_mean import GeneMean
from napari_stsr.methods.baselines.interpolation import Cubic, Linear
from napari_stsr.methods.baselines.inverse_distance import InverseDistance, Nearest
from napari_stsr.methods.baselines.kernel import Kernel
from napari_stsr.methods.baselines.kriging import Kriging
from napari_stsr.methods.baselines.poisson_kernel import PoissonKernel
from napari_stsr.methods.baselines.thin_plate import ThinPlate
from napari_stsr.methods.baselines.uniform_split import UniformSplit

__all__ = [
    "Cubic",
    "FactorKernel",
    "GeneMean",
    "InverseDistance",
    "Kernel",
    "Kriging",
    "Linear",
    "Nearest",
    "PoissonKernel",
    "ThinPlate",
    "UniformSplit",
]
