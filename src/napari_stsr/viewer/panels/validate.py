"""The Validate panel: how good methods are on this slide, judged on parts hidden from them."""

from __future__ import annotations

from typing import Any

from napari_stsr.errors import InputError
from napari_stsr.evaluation import EvaluationPlan, Opening
from napari_stsr.evaluation.advice import why_not
from napari_stsr.methods import Estimate
from napari_stsr.session import EvaluateJob, Job
from napari_stsr.slides import Slide
from napari_stsr.viewer.background import Background, Failure
from napari_stsr.viewer.panels.enhance import opened_with
from napari_stsr.viewer.panels.panel import Fold, Panel, words
from napari_stsr.viewer.panels.run_box import RunBox
from napari_stsr.viewer.panels.theme import finding
from napari_stsr.viewer.panels.validate_choices import ValidateChoices
from napari_stsr.viewer.panels.validate_result import ValidateResult


class ValidatePanel(Panel):
    """Plans a validation, runs it in the background and shows what came out.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._asker, self._estimator = Background(self), Background(self)
        self._submitter = Background(self)
        self.choices = ValidateChoices()
        self.asked = Fold("What to validate", self.choices)
        self.asked.heading.setChecked(True)
        self.estimate = words(name="estimate")
        self.runs = RunBox(curve=False)
        self.result = ValidateResult(self.desk)
        for widget in (self.asked, self.estimate, self.runs, self.result):
            self.column.addWidget(widget)
        self.column.addStretch(1)
        self._connect()
        self._on_slide()

    def _connect(self) -> None:
        desk = self.desk
        desk.slide_changed.connect(self._on_slide)
        desk.job_changed.connect(self._on_job)
        desk.evaluation_changed.connect(self._on_evaluation)
        self.choices.changed.connect(self._ask_estimate)
        self.choices.folds.valueChanged.connect(self._ask_protocols)
        self.runs.run.connect(self.run)
        self.runs.chosen.connect(self._on_chosen)
        self._asker.answered.connect(self.choices.refuse)
        self._estimator.answered.connect(self._on_estimate)
        self._estimator.failed.connect(self._on_no_estimate)
        self._submitter.answered.connect(self._on_submitted)
        self._submitter.failed.connect(self._on_refused)

    def _on_slide(self) -> None:
        self.setEnabled(self.desk.slide is not None)
        if self.desk.slide is not None:
            self.choices.device.look()
        self._ask_protocols()
        self._ask_estimate()

    def _ask_protocols(self) -> None:
        """Find out which protocols the slide can do; takes a second at HD size."""
        slide, folds = self.desk.slide, self.choices.folds.value()
        if slide is not None:
            self._asker.ask(lambda: why_not(slide, folds))

    def _plan(self) -> EvaluationPlan | Failure:
        try:
            return self.choices.plan()
        except InputError as error:
            return Failure(str(error), "")

    # Estimate

    def _ask_estimate(self) -> None:
        slide, plan = self.desk.slide, self._plan()
        if slide is None:
            return
        if isinstance(plan, Failure):
            self._estimator.forget()
            self._on_no_estimate(plan)
            return
        self.estimate.setText("Estimate …")
        self._estimator.ask(lambda: (plan.estimate(slide), _fits(plan, slide)))

    def _on_estimate(self, told: tuple[Estimate, int]) -> None:
        estimate, fits = told
        self.estimate.setText(f"Estimate: {estimate}, {fits} fits")
        self.estimate.setToolTip("")

    def _on_no_estimate(self, failure: Failure) -> None:
        self.estimate.setText(finding("problem", failure.message))
        self.estimate.setToolTip(failure.details)

    # Running

    def run(self) -> None:
        """Queue what the form asks for."""
        slide, plan, desk = self.desk.slide, self._plan(), self.desk
        if slide is None:
            return
        if isinstance(plan, Failure):
            self.runs.say(plan)
            return
        opening = Opening(slide.source.path, **opened_with(slide)) if slide.source.path else None
        self.runs.run_button.setEnabled(False)
        self._submitter.ask(lambda: desk.evaluate(plan, opening))

    def _on_submitted(self, job: EvaluateJob) -> None:
        self.runs.run_button.setEnabled(True)
        self.runs.add(job)

    def _on_refused(self, failure: Failure) -> None:
        self.runs.run_button.setEnabled(True)
        self.runs.say(failure)

    def _on_job(self, job: Job[Any]) -> None:
        if isinstance(job, EvaluateJob):
            self.runs.update_job(job)

    def _on_chosen(self, job: EvaluateJob) -> None:
        if job.result is not None and job.slide is self.desk.slide:
            self.desk.show_evaluation(job.result)
        elif job.state == "failed":
            self.runs.say(Failure(job.message, job.details))

    def _on_evaluation(self) -> None:
        found = self.desk.evaluation
        # What came out needs the room that the choices take; a click brings them back.
        self.asked.heading.setChecked(found is None)
        self.result.show_evaluation(found)


def _fits(plan: EvaluationPlan, slide: Slide) -> int:
    return len(plan.units(plan.check(slide)))
