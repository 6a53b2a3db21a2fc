"""How good methods are, judged on hidden parts of a slide against strong baselines."""

from napari_stsr.evaluation.comparison import Comparison
from napari_stsr.evaluation.evaluated import Evaluation
from napari_stsr.evaluation.opening import Opening
from napari_stsr.evaluation.plan import Contender, EvaluationPlan, contenders
from napari_stsr.evaluation.recipe import evaluate_again, evaluate_command, evaluate_python
from napari_stsr.evaluation.report import report_html, write_report
from napari_stsr.evaluation.running import evaluate, evaluating

__all__ = [
    "Comparison",
    "Contender",
    "Evaluation",
    "EvaluationPlan",
    "Opening",
    "contenders",
    "evaluate",
    "evaluate_again",
    "evaluate_command",
    "evaluate_python",
    "evaluating",
    "report_html",
    "write_report",
]
