"""Asks squawk what it finds in each case.

Usage: answers.py SQUAWK OUTPUT

OUTPUT is a JSON object: for each file the findings as "LINE RULE". A case whose name ends with `.outside` runs
outside a transaction. Two rules are left out, because the migrator sets both timeouts.
"""

import json
import pathlib
import subprocess
import sys

LEFT_OUT = "require-lock-timeout,require-statement-timeout"


def findings(squawk, case):
    command = [squawk, "--reporter", "json", "--exclude", LEFT_OUT]
    if not case.stem.endswith(".outside"):
        command.append("--assume-in-transaction")
    answer = subprocess.run([*command, str(case)], capture_output=True, text=True, cwd="/")
    found = json.loads(answer.stdout or "[]")
    return sorted(f"{one['line'] + 1} {one['rule_name']}" for one in found)


def main():
    squawk, output = sys.argv[1:]
    cases = pathlib.Path(__file__).resolve().parent / "cases"
    answers = {case.stem: findings(squawk, case) for case in sorted(cases.glob("*.sql"))}
    text = json.dumps(answers, indent=1, sort_keys=True)
    pathlib.Path(output).write_text(text + "\n", encoding="utf-8")


main()
