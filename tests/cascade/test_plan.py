import random
from dataclasses import replace
from pathlib import Path

import pytest
from fake_night import MJD0, Night
from fake_recipes import DECLARATIONS, OBJECT_INPUTS, SPECTRA, STARE_TAGS, calibration, declaration, raw

from soxs_recipes.cascade.frames import FrameRecord
from soxs_recipes.cascade.plan import PlanInputs, make_plan
from soxs_recipes.cascade.scan import scan_folder
from soxs_recipes.cascade.tasks import TASKS
from soxs_recipes.recipes.framework.declarations import CalibrationInput


def SKY_LINES(tag):
    return FrameRecord("/static/SKY_LINE_LIST.fits", 1, 0, "sum", tag) if tag == "SKY_LINE_LIST" else None


def inputs_for(*folders, **more):
    frames = [frame for folder in folders for frame in scan_folder(folder).frames]
    settings = more.pop("settings", {})
    return PlanInputs(
        frames=more.pop("frames", frames),
        declarations=more.pop("declarations", DECLARATIONS),
        parameters=lambda recipe, arm: {"level": settings.get((recipe, arm), settings.get(recipe, 3))},
        static=more.pop("static", SKY_LINES),
        **more,
    )


def plan_of(night, **more):
    return make_plan(inputs_for(night.folder, **more))


def named(plan, task, arm):
    return [job for job in plan.jobs if job.task.name == task and job.arm == arm]


def only(plan, task, arm):
    (job,) = named(plan, task, arm)
    return job


def link(job, name):
    (found,) = [link for link in job.links if link.name == name]
    return found


def test_a_complete_night_has_every_call_once(complete_night):
    plan = plan_of(complete_night)
    counted = {}
    for job in plan.jobs:
        counted[job.task.name, job.arm] = counted.get((job.task.name, job.arm), 0) + 1
        assert job.blocked == ""
        assert job.marks == ()
    both = {(task, arm) for task in ("disp_solution", "order_centres", "spatial_solution", "standard", "response",
                                     "science") for arm in ("VIS", "NIR")}  # fmt: skip
    assert counted == dict.fromkeys(both, 1) | {
        ("bias", "VIS"): 1, ("dark", "NIR"): 1, ("flat", "VIS"): 2, ("flat", "NIR"): 2,
    }  # fmt: skip
    assert plan.unused == {}


def test_calls_come_after_what_they_need(complete_night):
    plan = plan_of(complete_night)
    seen = set()
    for job in plan.jobs:
        assert set(job.upstream) <= seen
        seen.add(job.name)
    assert len(seen) == len(plan.jobs)


def test_science_takes_the_flat_of_its_slit_and_three_exposures_together(complete_night):
    plan = plan_of(complete_night)
    for arm in ("VIS", "NIR"):
        science, standard = only(plan, "science", arm), only(plan, "standard", arm)
        assert len(science.frames) == 3
        assert link(science, "flat").jobs[0].endswith("SLIT1.0")
        assert link(standard, "flat").jobs[0].endswith("SLIT5.0")
        assert link(science, "response").jobs[0] == only(plan, "response", arm).name
        assert link(science, "flat").level == 0
        assert link(science, "flat").age == pytest.approx(-0.34, abs=0.05)


def test_each_mode_has_its_recipe_and_any_standard_gives_the_response(night):
    night.calibrations("VIS")
    nod, offset = "ECHELLE,SLIT,NODDING", "ECHELLE,SLIT,OFFSET"
    night.add("std", "VIS", ("CALIB", "STD,FLUX", nod), 2, at=0.01, slit="SLIT5.0", target="GD71")
    night.add("nod", "VIS", ("SCIENCE", "OBJECT", nod), 4, at=0.1, target="SN2026abc", exptime=300.0)
    night.add("off", "VIS", ("SCIENCE", "OBJECT", offset), 2, at=0.2, target="SN2026xyz", exptime=300.0)
    named_sky = {"target": "SKY", "ESO OBS TARG NAME": "SN2026xyz"}
    night.add("sky", "VIS", ("SCIENCE", "SKY", offset), 1, at=0.21, exptime=200.0, **named_sky)
    night.add("lost", "VIS", ("SCIENCE", "SKY", offset), 1, at=0.3, exptime=200.0, target="elsewhere")
    plan = plan_of(night)
    standard, response = only(plan, "standard_nod", "VIS"), only(plan, "response", "VIS")
    assert response.upstream == (standard.name,)
    science, apart = only(plan, "science_nod", "VIS"), only(plan, "science_offset", "VIS")
    assert (science.recipe, len(science.frames)) == ("soxs_nod", 4)
    assert sorted(frame.tag for frame in apart.frames) == ["OBJECT_OFFSET_VIS"] * 2 + ["SKY_OFFSET_VIS"]
    assert link(science, "response").jobs == link(apart, "response").jobs == (response.name,)
    assert [Path(path).name for path in plan.unused] == ["SOXS.lost.01.fits"]


def test_the_arms_line_checks_are_compared(complete_night):
    checks = declaration(
        "soxs_line_check", [raw("<KIND>_SLIT_ORDER1D_<ARM>")], ["LINE_CHECK_<ARM>"],
        [CalibrationInput("LINE_CHECK_<ARM>", "of the other arm", any_arm=True)],
    )  # fmt: skip
    plan = plan_of(complete_night, declarations={**DECLARATIONS, "soxs_line_check": checks})
    first, second = (job for job in plan.jobs if job.task.name == "line_check")
    assert {first.arm, second.arm} == {"VIS", "NIR"}
    assert [one.name for one in first.links] == ["main input"]
    assert link(second, "line check of the other arm").jobs == (first.name,)
    assert link(second, "line check of the other arm").tags == (f"LINE_CHECK_{first.arm}",)


def test_arcs_around_an_exposure_serve_it_and_those_of_the_afternoon_do_not(complete_night):
    arc = ("CALIB", "LAMP,WAVE", "ECHELLE,SLIT")
    for name, at in (("afternoon", -0.3), ("before", 0.08), ("earlier", 0.05), ("after", 0.12)):
        complete_night.add(name, "VIS", arc, at=at, exptime=20.0)
    objects = declaration(
        "soxs_stare", [raw(tag) for tag in STARE_TAGS], SPECTRA, [*OBJECT_INPUTS, calibration("WAVE_SLIT_<ARM>")]
    )
    plan = plan_of(complete_night, declarations={**DECLARATIONS, "soxs_stare": objects})
    names = [frame.name for frame in link(only(plan, "science", "VIS"), "arcs before and after").frames]
    assert names == ["SOXS.before.01.fits", "SOXS.after.01.fits"]
    assert sorted(Path(path).name for path in plan.unused) == ["SOXS.afternoon.01.fits"]


def test_optional_products_are_made_when_asked_for(complete_night):
    assert named(plan_of(complete_night), "straighten", "NIR") == []
    plan = plan_of(complete_night, also=frozenset({"straighten"}))
    for arm in ("VIS", "NIR"):
        job, science = only(plan, "straighten", arm), only(plan, "science", arm)
        assert link(job, "main input").jobs == (science.name,)
        assert link(job, "main input").tags == (f"SCI_SLIT_SKYSUB_{arm}", f"SCI_SLIT_SKYMODEL_{arm}")
        assert link(job, "flat").jobs == link(science, "flat").jobs


def test_lamp_off_frames_of_the_template_are_taken(complete_night):
    job = only(plan_of(complete_night), "spatial_solution", "NIR")
    off = link(job, "lamp-off")
    assert [frame.tag for frame in off.frames] == ["WAVE_MPH_NIR_OFF"]
    flats = named(plan_of(complete_night), "flat", "NIR")
    assert [len(link(flat, "lamp-off").frames) for flat in flats] == [5, 5]


def test_keys_do_not_depend_on_the_order_of_files(complete_night):
    inputs = inputs_for(complete_night.folder)
    keys = {job.name: job.key for job in make_plan(inputs).jobs}
    assert len(set(keys.values())) == len(keys) > 10
    for seed in range(5):
        shuffled = list(inputs.frames)
        random.Random(seed).shuffle(shuffled)
        assert {job.name: job.key for job in make_plan(replace(inputs, frames=shuffled)).jobs} == keys


def with_dependents(plan, name):
    """A call and those that take its products, directly or not."""
    found = {name}
    for job in plan.jobs:
        if found & set(job.upstream):
            found.add(job.name)
    return found


def test_a_parameter_touches_exactly_its_dependents(complete_night):
    before = plan_of(complete_night)
    keys = {job.name: job.key for job in before.jobs}
    after = plan_of(complete_night, settings={("soxs_disp_solution", "VIS"): 4})
    changed = {job.name for job in after.jobs if job.key != keys[job.name]}
    origin = only(before, "disp_solution", "VIS").name
    assert changed == with_dependents(before, origin)
    assert {name.split("/")[1] for name in changed} == {
        "disp_solution", "order_centres", "flat", "spatial_solution", "standard", "response", "science",
    }  # fmt: skip
    assert all("NIR" not in name for name in changed)
    assert {job.name: job.key for job in plan_of(complete_night).jobs} == keys


def test_an_algorithm_version_touches_its_dependents(complete_night):
    keys = {job.name: job.key for job in plan_of(complete_night).jobs}
    newer = {**DECLARATIONS, "soxs_response": replace(DECLARATIONS["soxs_response"], algorithm_version=99)}
    changed = {job.name for job in plan_of(complete_night, declarations=newer).jobs if job.key != keys[job.name]}
    assert {name.split("/")[1] for name in changed} == {"response", "science"}


def test_without_bias_the_overscan_must_do(complete_night):
    for path in complete_night.written["vis_bias"]:
        path.unlink()
    science = only(plan_of(complete_night), "science", "VIS")
    assert science.blocked == ""
    assert science.marks == ("no bias: level from the overscan only",)


def test_without_standard_there_are_counts(complete_night):
    for label in ("vis_std", "nir_std"):
        complete_night.written[label][0].unlink()
    for arm in ("VIS", "NIR"):
        science = only(plan_of(complete_night), "science", arm)
        assert science.marks == ("no standard star: spectrum in counts",)
        assert science.blocked == ""


def test_an_archive_response_is_better_than_none(complete_night):
    complete_night.written["nir_std"][0].unlink()
    archive = FrameRecord("/static/RESP_ARCHIVE_NIR.fits", 1, 0, "sum", "RESP_ARCHIVE_NIR", is_product=True)
    declarations = DECLARATIONS | {"soxs_stare": with_archive(DECLARATIONS["soxs_stare"])}
    static = {archive.tag: archive}.get
    plan = plan_of(complete_night, static=static, declarations=declarations)
    science = only(plan, "science", "NIR")
    assert science.marks == ("no standard star: archive response",)
    assert link(science, "response").frames == (archive,)


def with_archive(stare):
    return replace(stare, calibrations=(*stare.calibrations, CalibrationInput("RESP_ARCHIVE_<ARM>", "archive")))


def test_a_standard_without_flat_of_its_slit_takes_the_other(complete_night):
    for path in complete_night.written["vis_flatSLIT5.0"]:
        path.unlink()
    plan = plan_of(complete_night)
    standard = only(plan, "standard", "VIS")
    assert standard.marks == ("flat of another slit",)
    assert link(standard, "flat").jobs[0].endswith("SLIT1.0")
    assert only(plan, "science", "VIS").marks == ()


def test_without_any_flat_the_order_centres_remain(complete_night):
    for slit in ("SLIT1.0", "SLIT5.0"):
        for path in complete_night.written[f"vis_flat{slit}"]:
            path.unlink()
    science = only(plan_of(complete_night), "science", "VIS")
    assert science.marks == ("no flat: pixel response stays in",)
    assert link(science, "flat").tags == ("ORDER_TAB_CENTR_VIS",)


def test_a_missing_lamp_leaves_a_marked_spectrum(complete_night):
    for label in ("nir_multi", "nir_multi_off"):
        for path in complete_night.written[label]:
            path.unlink()
    science = only(plan_of(complete_night), "science", "NIR")
    assert science.marks == ("no multi-pinhole arc: dispersion solution without slit term",)
    assert link(science, "2-D solution").tags == ("DISP_TAB_NIR",)


def test_a_required_calibration_blocks_and_says_so(complete_night):
    complete_night.written["vis_arc"][0].unlink()
    job = only(plan_of(complete_night), "spatial_solution", "VIS")
    assert job.blocked == "needs DISP_TAB_VIS (made by soxs_disp_solution), and there is none"
    assert only(plan_of(complete_night), "science", "VIS").blocked == ""


def test_one_arm_alone(night):
    night.calibrations("NIR")
    night.science("NIR")
    plan = plan_of(night)
    assert {job.arm for job in plan.jobs} == {"NIR"}
    assert only(plan, "science", "NIR").blocked == ""


def test_ladder_of_darks(night):
    night.science("NIR", exptime=300.0)
    night.add("off", "NIR", ("CALIB", "LAMP,FLAT", "IMAGE"), exptime=8.0)
    assert link(only(plan_of(night), "science", "NIR"), "dark").mark.startswith("no dark: lamp-off")
    assert [job.facts["exptime"] for job in named(plan_of(night), "lamp_off_dark", "NIR")] == [8.0]
    night.add("d10", "NIR", ("CALIB", "DARK", "IMAGE"), 5, exptime=10.0)
    night.add("d100", "NIR", ("CALIB", "DARK", "IMAGE"), 5, exptime=100.0)
    plan = plan_of(night)
    night.add("d1000", "NIR", ("CALIB", "DARK", "IMAGE"), 5, exptime=1000.0)
    between = link(only(plan_of(night), "science", "NIR"), "dark")
    assert (between.mark, between.level) == ("", 0)
    assert [name.rsplit("_", 1)[1] for name in between.jobs] == ["100s", "1000s"]
    for path in night.written["d1000"]:
        path.unlink()
    scaled = link(only(plan, "science", "NIR"), "dark")
    assert scaled.mark == "dark of another exposure time, scaled"
    assert plan.job(scaled.jobs[0]).facts["exptime"] == 100.0
    assert named(plan, "lamp_off_dark", "NIR") == []
    night.add("d300", "NIR", ("CALIB", "DARK", "IMAGE"), 5, exptime=300.0)
    same = link(only(plan_of(night), "science", "NIR"), "dark")
    assert (same.mark, same.level) == ("", 0)


@pytest.mark.parametrize(("days", "level"), [(0.3, 0), (3.0, 1), (-6.0, 1), (8.0, 2), (-400.0, 3)])
def test_age_gives_the_level(night, days, level):
    night.science("VIS", at=0.0)
    night.add("bias", "VIS", ("CALIB", "BIAS", "IMAGE"), 5, exptime=0.0, at=days)
    job = only(plan_of(night), "science", "VIS")
    found = [link for link in job.links if link.name == "bias"]
    assert [link.level for link in found] == [level]
    assert found[0].age == pytest.approx(days, abs=0.01)
    assert found[0].mark == ("bias older than a week" if abs(days) > 7 else "")


def test_the_nearest_in_time_is_taken(tmp_path):
    nights = [Night(tmp_path / str(n), mjd=MJD0 + 3 * n) for n in range(3)]
    for one in nights:
        one.calibrations("VIS")
    nights[1].science("VIS")
    plan = make_plan(inputs_for(*(one.folder for one in nights)))
    science = only(plan, "science", "VIS")
    assert len(named(plan, "bias", "VIS")) == 3
    assert all(job.startswith("2025-11-23/") for link in science.links for job in link.jobs)
    assert science.facts["night"] == "2025-11-23"


def test_setups_are_not_mixed(night):
    night.add("b11", "VIS", ("CALIB", "BIAS", "IMAGE"), 5, exptime=0.0)
    night.add("b22", "VIS", ("CALIB", "BIAS", "IMAGE"), 5, exptime=0.0,
              **{"ESO DET BINX": 2, "ESO DET BINY": 2, "NAXIS1": 454, "NAXIS2": 2048})  # fmt: skip
    night.add("fast", "VIS", ("CALIB", "BIAS", "IMAGE"), 5, exptime=0.0, **{"ESO DET READ CURID": 2})
    night.science("VIS")
    plan = plan_of(night)
    assert [len(job.frames) for job in named(plan, "bias", "VIS")] == [5, 5, 5]
    chosen = plan.job(link(only(plan, "science", "VIS"), "bias").jobs[0])
    assert (chosen.facts["binning"], chosen.facts["read_mode"]) == ("1x1", "1")


def test_headers_without_template_keywords_still_make_a_plan(night):
    bare = {"ESO TPL ID": None, "ESO TPL START": None, "ESO TPL EXPNO": None, "ESO DET READ CURID": None}
    night.add("bias", "VIS", ("CALIB", "BIAS", "IMAGE"), 5, at=-0.3, exptime=0.0, **bare)
    night.add("arc", "VIS", ("CALIB", "LAMP,WAVE", "ECHELLE,PINHOLE"), 2, at=-0.2, slit="PINHOLE", **bare)
    night.add("sci", "VIS", ("SCIENCE", "OBJECT", "ECHELLE,SLIT,STARE"), 2, target="SN", **bare)
    plan = plan_of(night)
    assert [len(job.frames) for job in plan.jobs] == [5, 2, 2]
    assert only(plan, "science", "VIS").upstream


def test_a_read_mode_that_some_frames_do_not_tell_is_inferred(night):
    night.add("told", "VIS", ("CALIB", "BIAS", "IMAGE"), 3, at=-0.3, exptime=0.0)
    night.add(
        "untold", "VIS", ("CALIB", "BIAS", "IMAGE"), 2, at=-0.29, exptime=0.0, **{"ESO DET READ CURID": None}
    )
    night.add("named", "VIS", ("SCIENCE", "OBJECT", "ECHELLE,SLIT,STARE"), target="SN",
              **{"ESO DET READ CURID": None, "ESO DET READ CURNAME": "FAST"})  # fmt: skip
    plan = plan_of(night)
    assert len(only(plan, "bias", "VIS").frames) == 5
    assert link(only(plan, "science", "VIS"), "bias").mark == ""
    night.add("slow", "VIS", ("CALIB", "BIAS", "IMAGE"), 3, at=-0.2, exptime=0.0, **{"ESO DET READ CURID": 7})
    assert sorted(len(job.frames) for job in named(plan_of(night), "bias", "VIS")) == [2, 3, 3]


def test_both_lamps_make_one_flat(night):
    night.add("qth", "VIS", ("CALIB", "LAMP,QFLAT", "ECHELLE,SLIT"), 5)
    night.add("d2", "VIS", ("CALIB", "LAMP,DFLAT", "ECHELLE,SLIT"), 5, at=0.05, exptime=60.0)
    flat = only(plan_of(night), "flat", "VIS")
    assert sorted({frame.tag for frame in flat.frames}) == ["FLAT_SLIT_VIS_D2", "FLAT_SLIT_VIS_QTH"]
    assert len(flat.frames) == 10


def test_too_few_frames_block(night):
    night.add("bias", "VIS", ("CALIB", "BIAS", "IMAGE"), 2, exptime=0.0)
    strict = {"soxs_mbias": declaration("soxs_mbias", [raw("BIAS_<ARM>", min_count=3)], ["MASTER_BIAS_<ARM>"])}
    job = only(plan_of(night, declarations=strict), "bias", "VIS")
    assert job.blocked == "needs 3 frames BIAS_VIS, and there are 2"


def test_a_recipe_of_one_frame_gets_one(night):
    night.add("arc", "VIS", ("CALIB", "LAMP,WAVE", "ECHELLE,PINHOLE"), 3, slit="PINHOLE")
    one = {
        "soxs_disp_solution": declaration(
            "soxs_disp_solution", [raw("WAVE_PIN_<ARM>", max_count=1)], ["DISP_TAB_<ARM>"]
        )
    }
    jobs = named(plan_of(night, declarations=one), "disp_solution", "VIS")
    assert [len(job.frames) for job in jobs] == [1, 1, 1]
    assert len({job.name for job in jobs}) == 3


def test_what_failed_is_replaced_by_the_next_rung(complete_night):
    plan = plan_of(complete_night)
    flat = link(only(plan, "science", "VIS"), "flat").jobs[0]
    without = plan_of(complete_night, unavailable=frozenset({(flat, "")}))
    science = only(without, "science", "VIS")
    assert science.marks == ("flat of another slit",)
    assert science.key != only(plan, "science", "VIS").key


def test_a_missing_product_counts_as_missing(complete_night):
    plan = plan_of(complete_night)
    spatial = only(plan, "spatial_solution", "VIS").name
    without = plan_of(complete_night, unavailable=frozenset({(spatial, "DISP_TAB_2D_VIS")}))
    assert link(only(without, "science", "VIS"), "2-D solution").tags == ("DISP_TAB_VIS",)


def test_products_that_lie_about_are_second_to_the_plan(night):
    night.add("bias", "VIS", ("CALIB", "BIAS", "IMAGE"), 5, exptime=0.0, at=-0.3)
    night.science("VIS")
    ours = {"ESO PRO CATG": "MASTER_BIAS_VIS", "ESO PRO REC1 PIPE ID": "soxs/1.0", "ESO QC STATUS": "COMPLETE"}
    night.add("made", "VIS", ("CALIB", "BIAS", "IMAGE"), 1, exptime=0.0, at=0.1, **ours)
    assert link(only(plan_of(night), "science", "VIS"), "bias").jobs
    for path in night.written["bias"]:
        path.unlink()
    found = link(only(plan_of(night), "science", "VIS"), "bias")
    assert [frame.name for frame in found.frames] == ["SOXS.made.01.fits"]


def test_products_that_lie_about_bring_those_of_their_call(night):
    night.science("VIS")
    for label, at in (("old", -5.0), ("new", -0.2)):
        for tag in ("MASTER_FLAT_VIS", "ORDER_TAB_EDGES_VIS"):
            ours = {"ESO PRO CATG": tag, "ESO PRO REC1 PIPE ID": "soxs/1.0", "ESO QC STATUS": "COMPLETE"}
            night.add(f"{label}_{tag}", "VIS", ("CALIB", "LAMP,FLAT", "ECHELLE,SLIT"), at=at, **ours)
    flat = link(only(plan_of(night), "science", "VIS"), "flat")
    assert [frame.name for frame in flat.frames] == [f"SOXS.new_{tag}.01.fits" for tag in flat.tags]
    assert flat.tags == ("MASTER_FLAT_VIS", "ORDER_TAB_EDGES_VIS")
    night.written["new_ORDER_TAB_EDGES_VIS"][0].unlink()
    flat = link(only(plan_of(night), "science", "VIS"), "flat")
    assert [frame.tag for frame in flat.frames] == ["MASTER_FLAT_VIS"]


def test_names_are_safe_whatever_the_target_is_called(night):
    evil = ["../../x", "/etc/x", "C/2014 UN271", "a;rm -rf", "CON", "-lead", "x" * 68, "..", "a b\tc"]
    for number, target in enumerate(evil):
        night.add(
            f"s{number}", "VIS", ("SCIENCE", "OBJECT", "ECHELLE,SLIT,STARE"), target=target, at=number * 0.01
        )
    jobs = named(plan_of(night), "science", "VIS")
    assert len(jobs) == len(evil)
    assert len({job.name for job in jobs}) == len(evil)
    for job in jobs:
        parts = job.name.split("/")
        assert len(parts) == 3
        assert all(part.strip(".") and not part.startswith("-") and len(part) < 100 for part in parts)
        assert all(c.isalnum() or c in "._+-" for part in parts for c in part)


def test_frames_that_no_recipe_takes_are_named(night):
    (path,) = night.add("map", "VIS", ("SCIENCE", "OBJECT", "ECHELLE,SLIT,MAPPING"))
    assert plan_of(night).unused == {str(path): "OBJECT_MAP_VIS: no recipe reduces such frames yet"}


def test_the_table_is_sound():
    assert len({task.name for task in TASKS}) == len(TASKS)
    known = {task.name for task in TASKS} | {"raw", "static"}
    earlier = set()
    for task in TASKS:
        for association in task.associations:
            assert association.rungs
            for rung in association.rungs:
                assert rung.source in known
                # A call may take what an earlier one of its own kind made.
                assert rung.source in {"raw", "static", task.name} | earlier, (
                    f"{task.name} needs {rung.source} before it is made"
                )
                assert rung.tags
                levels = [r.level for r in rung.ranges]
                assert levels == sorted(levels)
        assert set(task.main_from) <= earlier
        earlier.add(task.name)
