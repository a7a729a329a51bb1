"""The table of lanes is true, and a lane's end is told as it was."""

import json
from pathlib import Path

import pytest

from tests.kit.mesh import ROOT
from tests.soak.__main__ import _all, main, run
from tests.soak.lanes import LANES, Knob, Lane, chosen, share_of


def lane(*arguments: str, module: str = "no_such_module", knobs: tuple[Knob, ...] = ()) -> Lane:
    return Lane(
        name="trial", proves="it", module=module, arguments=arguments, knobs=knobs, reports=("trial",), minutes=10
    )


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Figures and logs are kept below the folder that one is in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def source_of(each: Lane) -> str:
    """Everything that a lane's command is made of."""
    paths = [ROOT / argument for argument in each.arguments if argument.startswith("tests/")]
    paths += [ROOT / each.module.replace(".", "/")] * (each.module != "pytest")
    assert paths, each.name
    assert all(path.exists() for path in paths), f"{each.name}: {paths}"
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))]
    return "\n".join(file.read_text("utf-8") for file in files)


@pytest.mark.parametrize("each", LANES, ids=lambda each: each.name)
def test_a_lane_names_what_is_there_and_turns_knobs_that_somebody_reads(each: Lane) -> None:
    source = source_of(each)
    for name in (*(knob.name for knob in each.knobs), *each.settings):
        assert f'"{name}"' in source, f"nothing in {each.name} reads {name}"


def test_no_two_lanes_have_one_name_or_report_under_one() -> None:
    names = [each.name for each in LANES]
    reports = [report for each in LANES for report in each.reports]
    assert len(set(names)) == len(names)
    assert len(set(reports)) == len(reports)


def test_a_share_is_never_less_than_what_every_run_does_nor_more_than_all() -> None:
    knob = Knob(name="KILLS", full=500, least=24)
    assert [knob.share(of) for of in (0.0, 0.1, 1.0, 2.0)] == [24, 50, 500, 500]


def test_minutes_are_shared_among_the_lanes_that_were_asked_for() -> None:
    two = (lane(), lane())
    assert share_of(two, None) == 1.0
    assert share_of(two, 5) == 0.25
    assert share_of(two, 500) == 1.0
    assert chosen([LANES[1].name]) == (LANES[1],)
    assert chosen([]) == LANES


def test_a_lane_that_reports_is_read_and_gets_its_share(elsewhere: Path) -> None:
    (elsewhere / "test_trial.py").write_text(
        "import json, os, pathlib, pytest\n"
        "def test_it():\n"
        "    path = pathlib.Path('build/figures/trial.json')\n"
        "    assert not path.exists(), 'figures of another run'\n"
        "    path.write_text(json.dumps({'kills': int(os.environ['TRIAL'])}))\n"
        "@pytest.mark.skip(reason='no luck')\n"
        "def test_other(): ...\n"
    )
    stale = elsewhere / "build" / "figures" / "trial.json"
    stale.parent.mkdir(parents=True)
    stale.write_text(json.dumps({"kills": 99}))
    ran = run(lane("-ra", "test_trial.py", module="pytest", knobs=(Knob(name="TRIAL", full=40, least=1),)), share=0.5)
    assert ran.figures == {"trial": {"kills": 20}}
    assert ran.failed == ""
    assert [each.endswith("no luck") for each in ran.skipped_tests] == [True]


def test_a_lane_that_fails_says_so_and_shows_no_figures_of_another_run(elsewhere: Path) -> None:
    stale = elsewhere / "build" / "figures" / "trial.json"
    stale.parent.mkdir(parents=True)
    stale.write_text(json.dumps({"kills": 99}))
    ran = run(lane(), share=1.0)
    assert ran.figures == {}
    assert ran.failed == "exit code 1, see build/soak/trial.log"
    assert not ran.is_good


def test_what_there_is_no_time_for_is_skipped_and_says_why(elsewhere: Path) -> None:
    from tests.soak import __main__ as soak

    in_a_minute = soak._now_s() + 60
    (whole,) = _all((lane(),), 0.1, in_a_minute)
    assert whole.skipped == "it takes 10 min in one piece; 1 are left"
    (late,) = _all((lane(knobs=(Knob(name="TRIAL", full=2, least=1),)),), 0.1, in_a_minute - 120)
    assert late.skipped == "the time was up"


def test_the_page_is_written_and_the_exit_code_tells(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.soak.__main__.chosen", lambda _only: (lane(),))
    assert main([]) == 1
    written = (elsewhere / "build" / "soak.md").read_text("utf-8")
    assert "* trial: FAILED: exit code 1" in written
    assert written in capsys.readouterr().out


def test_a_list_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [each.name for each in LANES]


@pytest.mark.parametrize("minutes", ["0", "-1", "nan"])
def test_no_time_at_all_is_refused(
    minutes: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.soak.__main__.chosen", lambda _only: (lane(),))  # no real one, should it be run
    with pytest.raises(SystemExit) as ended:
        main([f"--minutes={minutes}"])
    assert ended.value.code == 2
    assert "nothing can run in that; give more than 0" in capsys.readouterr().err
    assert list(elsewhere.iterdir()) == []


def test_where_nothing_ran_it_is_no_success(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.soak.__main__.chosen", lambda _only: (lane(),))
    assert main(["--minutes", "1"]) == 1
    assert "* trial: SKIPPED: it takes 10 min in one piece" in (elsewhere / "build" / "soak.md").read_text("utf-8")
    assert "nothing ran, so nothing is known" in capsys.readouterr().out
