from __future__ import annotations

import numpy as np
import pytest

from napari_stsr.errors import InputError
from napari_stsr.evaluation import EvaluationPlan
from napari_stsr.session import Plan, Workspace
from napari_stsr.training import Run
from tests.evaluation.contestants import contestants

pytestmark = pytest.mark.usefixtures("method")


@pytest.fixture
def workspace(slide):
    space = Workspace()
    space.slide = slide
    yield space
    space.close()


def test_results_are_kept_in_order_even_when_a_later_job_fails(workspace):
    first = workspace.enhance(Plan("fake"), Run())
    broken = workspace.enhance(Plan("fake", values={"ends": "by a bug"}), Run())
    last = workspace.enhance(Plan("fake", subspots=6), Run())
    assert last.wait(10)
    assert broken.state == "failed"
    assert workspace.results == [first.result, last.result]


def test_a_plan_that_cannot_work_is_refused_before_it_is_queued(workspace):
    with pytest.raises(InputError, match="into 9 subspots"):
        workspace.enhance(Plan("fake", subspots=9), Run())
    assert workspace.queue.jobs == []


def test_changing_the_slide_leaves_a_queued_job_its_own(workspace, slide):
    job = workspace.enhance(Plan("fake"), Run())
    workspace.slide = slide.take(slide.in_tissue)
    assert job.wait(10)
    assert len(job.result) == 7 * len(slide)


def test_without_a_slide_there_is_nothing_to_enhance():
    with pytest.raises(InputError, match="No slide is open"):
        Workspace().enhance(Plan("fake"), Run())


def test_an_evaluation_runs_in_the_same_queue_and_finished_fits_are_not_run_again(slide):
    space = Workspace()
    space.slide = slide
    with contestants():
        plan = EvaluationPlan(contenders=["gene_mean"], folds=2, scored=5, draws=10)
        reports = []
        first = space.evaluate(plan, lambda job: reports.append(job.progress))
        again = space.evaluate(plan)
        assert again.wait(30)
    assert (first.state, again.state) == ("done", "done")
    assert first.result.tasks == ("hidden-spots",)
    assert first.label == "hidden-spots · 1 method, 2 folds"
    assert any(report is not None and 0 < report.fraction < 1 for report in reports)
    # Read back from the first, with its times.
    assert again.result.outcomes[0].seconds == first.result.outcomes[0].seconds
    space.close()


def test_a_slide_that_cannot_be_evaluated_is_refused_before_it_is_queued(workspace, slide):
    workspace.slide = slide.take(np.arange(10))
    with contestants(), pytest.raises(InputError, match="too few"):
        workspace.evaluate(EvaluationPlan(contenders=["gene_mean"], folds=2))
    assert workspace.queue.jobs == []
