"""What the user is doing: plans, jobs, workspace, provenance. No Qt here."""

from napari_stsr.session.job import EnhanceJob, EvaluateJob, Job, JobQueue
from napari_stsr.session.plan import Plan, enhance, support, united
from napari_stsr.session.workspace import Workspace

__all__ = [
    "EnhanceJob",
    "EvaluateJob",
    "Job",
    "JobQueue",
    "Plan",
    "Workspace",
    "enhance",
    "support",
    "united",
]
