"""`operant evidence`: claims, measured again; here, in processes side by side, or on a cluster."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from operant.cli.catalogue import HOLDS
from operant.cli.members import Member, add_place_options, finish, opened, wanted
from operant.cli.output import table, write, write_json
from operant.cli.parser import Command, Parser, add_json
from operant.core.errors import BadInput, RunFailed, unknown
from operant.core.files import check_target, given_path, read_json
from operant.core.registry import imported_files
from operant.core.terminal import note
from operant.loops.progress import waiting


def _arguments(parser: Parser) -> None:
    parser.add_argument("keys", nargs="*", metavar="KEY", help="claims to check, in this order; with --list or --stale: of these alone")
    parser.add_argument("--check", action="append", metavar="NAME", help="this check of the claim alone, more than once for several")
    parser.add_argument("--tier", metavar="TIER", help="checks of this tier alone: exact, small or real")
    parser.add_argument("--family", metavar="FAMILY", help="the checks of a family that are not recorded of the code as it is: begun again, it goes on")
    parser.add_argument("--list", action="store_true", help="list the claims' checks, and what was recorded of each")
    parser.add_argument("--stale", action="store_true", help="list the checks whose code has changed since they were recorded, or of which that is unknown")
    parser.add_argument("--write", metavar="FILE", help="write the table of scores beside Stable-Baselines3 into a Markdown file, between its marks")
    out = "a folder for the records in the place of the package's; what it has of the code as it is, is not measured again"
    parser.add_argument("--out", metavar="DIR", help=out)
    add_place_options(parser, "", "checks that are measured")
    add_json(parser)


def _evidence(args: Namespace) -> int:
    from operant import evidence

    asks = bool(args.keys or args.check or args.tier or args.family or args.out)
    if args.tier is not None and args.tier not in evidence.TIERS:
        raise unknown("tier", args.tier, evidence.TIERS)
    if args.write is not None:
        if args.list or args.stale or asks or wanted(args):
            raise BadInput("--write FILE stands alone: it writes what was recorded; for example: operant evidence --write docs/benchmarks.md")
        from operant.evidence.online.scores import write_table

        write_table(given_path(args.write, "--write"))
        write(f"written to {args.write}")
        return 0
    if args.list and args.stale:
        raise BadInput("operant evidence takes --list or --stale, not both")
    if args.check and (args.list or args.stale or len(args.keys) != 1):
        raise BadInput("--check names checks of one claim that is to be measured; for example: operant evidence ppo --check cartpole")
    if args.family is not None and (args.keys or args.list or args.stale or args.check):
        raise BadInput("--family FAMILY takes no keys, --check, --list or --stale; for example: operant evidence --family online --tier small")
    results = evidence.RESULTS if args.out is None else _folder(args.out, reads=args.list or args.stale)
    if args.list or args.stale:
        if wanted(args):
            raise BadInput("--list and --stale measure nothing: they go without --jobs and --cluster")
        rows = (_stale if args.stale else _checks)(args.keys, args.tier, results)
        if args.json:
            write_json(rows)
        elif rows:
            write(table([tuple(each.values()) for each in rows], tuple(rows[0])))
        elif args.stale:
            write("every record is of the code as it is")
        return 0
    if not args.keys and args.family is None:
        raise BadInput("operant evidence takes keys, --family FAMILY, --list, --stale or --write FILE; for example: operant evidence ppo")
    if args.family is not None:
        asked = evidence.of_family(args.family, args.tier)
    else:
        asked = {key: [each.name for each in evidence.chosen(key, args.check or (), args.tier)] for key in args.keys}
    waited = asked if args.family is None and args.out is None else evidence.due(asked, results)
    if wanted(args) and waited:
        _measure_apart(waited, results, args)
    else:
        for key, names in waited.items():
            whole = args.family is None and names == asked[key]
            for some in [names] if whole else [[name] for name in names]:  # one at a time: what stops here keeps what was measured
                with waiting(f"checking {key}: {', '.join(some)}"):
                    found = evidence.run(key, *((args.check or (), args.tier) if whole else (some,)), results=results)
                _tell(found, some, results, args.json)
    if not waited:
        note(f"every check that was asked for is recorded of the code as it is, in {results}")
        for key, names in asked.items():
            _tell(evidence.recorded(key, results), names, results, args.json)
    return 0


def _folder(given: str, *, reads: bool) -> Path:
    """The folder of `--out`. Raises `BadInput` where it is none, a run's, one that nothing may be written to, or is not there and is to be read."""
    folder = given_path(given, "--out")
    if reads and not folder.exists():
        raise BadInput(f"--out {folder}: there is no such folder")
    if folder.exists() and not folder.is_dir() or (folder / "run.json").exists():
        raise BadInput(f"--out {folder} is {'a run' if folder.is_dir() else 'a file'}: name a folder for records")
    if not reads:
        check_target(folder / "record.json")
    return folder


def _measure_apart(asked: Mapping[str, Sequence[str]], results: Path, args: Namespace) -> None:
    """Measure each check in a process of its own. A record is taken in as its member ends, whatever comes of the others."""
    from operant import evidence

    at = Path("runs") / f"evidence-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}" if args.out is None else results
    of = {}
    for key, name in ((key, name) for key, names in asked.items() for name in names):
        out = at / key / name.replace("/", "-")
        of[f"{key} {name}"] = key, name, Member(f"{key} {name}", out, ("evidence", key, "--check", name), tuple(imported_files()))

    found, records = {}, {}

    def ended(member: Member) -> None:
        key, name, _ = of[member.key]
        records[key] = evidence.take_in(read_json(member.out / f"{key}.json"), results)
        found.setdefault(key, []).append(name)

    with opened(args, None, "what was measured is recorded") as place:
        failed = finish(place, [member for _, _, member in of.values()], args.jobs, done=ended)
    for key in (key for key in asked if key in found):
        _tell(records[key], found[key], results, args.json)
    if failed:
        raise RunFailed(next(iter(failed.values())) + (f"; {len(failed) - 1} more failed" if len(failed) > 1 else ""))


def _tell(found: dict[str, Any], names: Sequence[str], results: Path, as_json: bool) -> None:
    """What some checks of a claim found. A verdict is of whole claims: where checks were not measured, how many were stands in its place."""
    from operant import evidence

    measured, checks = evidence.measured(found), found["checks"]
    if as_json:
        write_json(found | {"verdict": found["verdict"] if measured == len(checks) else None, "measured": measured})
        return
    facts = [("verdict", found["verdict"]) if measured == len(checks) else ("measured", f"{measured} of {len(checks)} checks")]
    for each in (each for each in checks if each["name"] in names):
        facts += [(each["name"], f"{HOLDS[each['holds']]}: {each['says']}"), *((f"  {name}", value) for name, value in evidence.flat_figures(each["figures"]))]
        facts += [("  seeds", str(each["seeds"]))] if each["seeds"] else []
        facts += [("  seconds", f"{each['seconds']:.1f}")]
    facts.append(("record", str(results / f"{found['key']}.json")))
    write(f"{found['key']}\n\n{table(facts)}\n")


def _checks(keys: Sequence[str], tier: str | None, results: Path) -> list[dict[str, str]]:
    """The checks of claims (of none: of all) of a tier, and what was recorded of each."""
    from operant import evidence

    rows = []
    for key in keys or evidence.claims():
        record = evidence.recorded(key, results)
        held = {} if record is None else {each["name"]: each["holds"] for each in record["checks"]}
        for each in evidence.get_claim(key).checks.values():
            if tier in (None, each.tier):
                rows.append({"key": key, "check": each.name, "tier": each.tier, "recorded": HOLDS[held.get(each.name)], "says": each.says})
    return rows


def _stale(keys: Sequence[str], tier: str | None, results: Path) -> list[dict[str, str]]:
    """The checks of claims (of none: of all) of a tier that are not recorded of the code as it is, and the commit that they are of."""
    from operant import evidence

    rows = []
    for key in keys or evidence.claims():
        record, checks = evidence.recorded(key, results), evidence.get_claim(key).checks
        of = {} if record is None else {each["name"]: record["runs"][each["run"]]["commit"] for each in record["checks"] if each["run"] is not None}
        for name, how in evidence.freshness(key, results).items():
            if how != "fresh" and tier in (None, checks[name].tier):
                rows.append({"key": key, "check": name, "tier": checks[name].tier, "code": how, "commit": (of.get(name) or "")[:10]})
    return rows


COMMANDS = (
    Command(
        "evidence",
        "Check a method's claim again: each check's figures, the interval and a verdict. With --json, one line for each key.",
        (
            "operant evidence ppo --json",
            "operant evidence bnpo --tier exact",
            "operant evidence --list",
            "operant evidence --stale",
            "operant evidence --family online --jobs 8 --out records",
            "operant evidence scores --cluster auto --out records",
        ),
        _arguments,
        _evidence,
    ),
)
