"""What the user is doing: plans, jobs, models, workspace, provenance. No Qt here."""

from napari_stsr.session.job import EnhanceJob, EvaluateJob, Job, JobQueue
from napari_stsr.session.model_files import Card, load_model, read_card, save_model
from napari_stsr.session.models import Model
from napari_stsr.session.plan import Plan, support, united
from napari_stsr.session.tasks import TASKS, Task
from napari_stsr.session.verbs import denoise, enhance, fit, impute, predict
from napari_stsr.session.workspace import Workspace

__all__ = [
    "TASKS",
    "Card",
    "EnhanceJob",
    "EvaluateJob",
    "Job",
    "JobQueue",
    "Model",
    "Plan",
    "Task",
    "Workspace",
    "denoise",
    "enhance",
    "fit",
    "impute",
    "load_model",
    "predict",
    "read_card",
    "save_model",
    "support",
    "united",
]
