"""Diagnostic codes of the stage: plan. What is wrong with a PLAN.json, or with what is asked of it."""

from __future__ import annotations

from isoloss.dsl.diagnostics.codes.row import Code
from isoloss.dsl.diagnostics.codes.shell import planned

_WRITE = planned() + " -o PLAN.json"

CODES: tuple[Code, ...] = (
    Code(
        "P101",
        "a plan that can't be read",
        "There is no such file, or it may not be read.",
        "$ isoloss plan PLAN.json",
        f"{_WRITE}\n$ isoloss plan PLAN.json",
    ),
    Code(
        "P102",
        "a plan that is not JSON",
        "The file's text is not JSON; the message shows where it ends to be.",
        "$ echo '{\"format\": ' > PLAN.json\n$ isoloss plan PLAN.json",
        f"{_WRITE}\n$ isoloss plan PLAN.json",
    ),
    Code(
        "P103",
        "not a plan of this format",
        "The JSON is something else, a plan of another version, or lacks a part.",
        '$ echo \'{"format": "isoloss.plan/0"}\' > PLAN.json\n$ isoloss plan PLAN.json',
        f"{_WRITE}\n$ isoloss plan PLAN.json",
    ),
    Code(
        "P104",
        "a plan edited by hand",
        "A job's id says what it means. Here a spec has changed and its id hasn't, so results would be filed under the "
        "wrong job. Change the study and plan again.",
        f'{_WRITE}\n$ sed -i \'s/"lr": 0.1/"lr": 0.2/\' PLAN.json\n$ isoloss plan PLAN.json',
        f"{_WRITE}\n$ isoloss plan PLAN.json",
    ),
    Code(
        "P105",
        "a file that can't be written",
        "The place named by `-o` is a folder, doesn't exist, or may not be written.",
        planned() + " -o nowhere/PLAN.json",
        _WRITE,
    ),
    Code(
        "P106",
        "no such job in the plan",
        "Jobs are named by the start of their id, at least four digits, or by their name as `isoloss plan --long` shows "
        "it. A start that several jobs share names none.",
        f"{_WRITE}\n$ isoloss explain nobody PLAN.json",
        f'{_WRITE}\n$ isoloss explain "runs/cnn(2)/g/4k" PLAN.json',
    ),
    Code(
        "P107",
        "a calibration from another machine",
        "The store's `profile.json` was measured on another host or processor, so its seconds and money would be "
        "another machine's. Measure this one, or delete the file: plans then assume a speed and say so.",
        "",
        planned(),
    ),
    Code(
        "P108",
        "a calibration that can't be read",
        "The store's `profile.json` is not what `isoloss calibrate` writes, or of another version.",
        "",
        planned(),
    ),
    Code(
        "P109",
        "no schedule to draw",
        "A schedule has the jobs that aren't done and whose seconds are estimated, up to 5,000 of them. This plan has "
        "none, or more.",
        "",
        planned(),
    ),
    Code(
        "P110",
        "a plan beyond its gate",
        "`--max-cost` and `--max-flops` of `plan` and `run` refuse a plan that goes beyond them, before anything is "
        "written or run: money by the upper end of its interval. What `allocate` will train is counted before it is "
        "known: its compute as kept, its money at what the plan's trainings cost per FLOP. Money that isn't estimated "
        "can't be held to a bound.",
        f"{planned()} --max-flops 1e6",
        f"{planned()} --max-flops 1e18",
    ),
    Code(
        "P111",
        "a stale plan",
        "A plan says what will run, what it costs and what it will answer, of the study, the results, the devices' speed "
        "and the isoloss that it was made from. The study's file, read with the same profile and `--set`, now says "
        "something else, which the message names with its old and its new value; comments, layout and order change "
        "nothing. Every command refuses such a plan; `diff`, which compares it with what it would be now, only says so. "
        "`run` also compiles the plan's study anew, and refuses where other jobs would run, or where a new calibration "
        "brings time or money beyond the plan's interval: results that the plan counts on may be gone, or kinds of jobs "
        "mean something else. An interrupted run of the plan goes on. A plan whose study isn't there stands for itself.",
        f"{_WRITE}\n$ sed -i 's/lr = 0.1/lr = 0.2/' small.study\n$ isoloss plan PLAN.json",
        f"{_WRITE}\n$ sed -i 's/lr = 0.1/lr  =  1e-1/' small.study\n$ isoloss plan PLAN.json",
    ),
    Code(
        "P112",
        "what has changed since a plan was made",
        "Results have come, a calibration is new or gone, or isoloss is another version. A plan that is shown is shown as "
        "it was made; one that is run still runs the jobs it names, or goes on with its study where that was begun. "
        "Where neither holds it is refused, P111.",
        "",
        f"{_WRITE}\n$ isoloss plan PLAN.json",
    ),
)
